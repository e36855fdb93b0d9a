"""Credentials that a client brings to the aggregated address: each for its provider alone."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.aggregate.model_table import Model, Target
from blindrelay.v1 import inner_pb2 as inner

from ..scripted_provider import ScriptedProvider, response
from ..sealed_caller import request_head
from .conftest import House, at, by_secret

ANTHROPIC = {b"content-type": b"application/json", b"anthropic-version": b"2023-06-01"}


async def two_providers(house: House) -> tuple[ScriptedProvider, ScriptedProvider]:
    first = await house.provider("first")
    claude = await house.provider("claude", preset="anthropic")
    await house.open(Model("m", at("first", "claude")), Model("opus", at("claude")))
    return first, claude


async def test_each_credential_reaches_its_provider_alone(house: House) -> None:
    first, claude = await two_providers(house)
    brought = (b"first my-key-1", b"claude my-key-2")
    first.script = response(status=b"429 Busy", headers=b"retry-after: 9\r\n")
    assert (await house.ask(brought=brought)).headers["blindrelay-served-by"] == "claude/m"
    assert (await house.ask("opus", brought=brought)).status == 200
    body = b'{"model":"opus","max_tokens":1,"messages":[]}'
    own = await house.ask(path="/anthropic/v1/messages", headers=ANTHROPIC, body=body, brought=brought)
    assert own.status == 200
    assert [each.named[b"authorization"] for each in first.received] == [b"Bearer my-key-1"]
    shown = [each.named.get(b"authorization", each.named.get(b"x-api-key")) for each in claude.received]
    assert shown == [b"Bearer my-key-2", b"Bearer my-key-2", b"my-key-2"]
    for received in (*first.received, *claude.received):
        assert not any(name.startswith(b"blindrelay-") for name, _ in received.headers)
        assert b"sk-" not in b"".join(value for _, value in received.headers), "none of the bridge's"
        other = b"my-key-2" if received in first.received else b"my-key-1"
        assert other not in b"".join(value for _, value in received.headers)


async def test_only_providers_with_a_credential_are_asked(house: House) -> None:
    first, claude = await two_providers(house)
    assert (await house.ask(brought=(b"claude my-key",))).headers["blindrelay-served-by"] == "claude/m"
    refused = await house.ask("opus", brought=(b"first my-key",))
    assert refused.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert "served by claude: bring a credential for it" in refused.message
    assert (len(first.received), len(claude.received)) == (0, 1)


async def test_failures_of_a_clients_credential_rest_nobody_elses(house: House) -> None:
    script = by_secret(a=response())

    async def judge(connection: object) -> None:
        mine = b"my-key" in connection.request.named[b"authorization"]  # type: ignore[attr-defined]
        await (response(status=b"401 No") if mine else script)(connection)  # type: ignore[arg-type]

    await house.provider("first", judge, secrets=("sk-a",))
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    assert (await house.ask(brought=(b"first my-key",))).status == 401
    assert house.router.attempts.health.resting == 0
    assert (await house.ask()).headers["blindrelay-served-by"] == "first/m"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([(b"blindrelay-credential", b"first")], "is not PROVIDER VALUE"),
        ([(b"blindrelay-credential", b"first a b")], "is not PROVIDER VALUE"),
        ([(b"blindrelay-credential", b"first a"), (b"blindrelay-credential", b"first b")], "twice for first"),
        ([(b"authorization", b"Bearer secret")], "does not say for which provider"),
        ([(b"x-api-key", b"secret")], "does not say for which provider"),
        ([(b"blindrelay-other", b"x")], "is for the aggregated address alone"),
        ([], "bring a credential for it"),
    ],
)
async def test_what_is_refused(house: House, headers: list[tuple[bytes, bytes]], message: str) -> None:
    await two_providers(house)
    head = request_head(
        "https://models.blindrelay.internal/v1/chat/completions", credential=inner.CREDENTIAL_BROUGHT
    )
    head.headers.extend(inner.Header(name=name, value=value) for name, value in headers)
    answer = await house.caller.exchange(head, b'{"model":"m","messages":[]}')
    assert answer.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert message in answer.message
    assert "secret" not in answer.message
    assert house.counts == {}


async def test_bridges_own_credentials_and_brought_ones_do_not_mix(house: House) -> None:
    await two_providers(house)
    answer = await house.ask(
        headers={b"content-type": b"application/json", b"blindrelay-credential": b"first my-key"}
    )
    assert "is for credentials=brought" in answer.message
    assert house.counts == {}


@pytest.mark.parametrize("credential", [inner.CREDENTIAL_BROUGHT, inner.CREDENTIAL_INJECTED])
async def test_no_provider_is_shown_the_credentials_of_others(house: House, credential: int) -> None:
    """At a provider's own address these headers are refused, whoever's credential the exchange uses."""
    await two_providers(house)
    for name in (b"blindrelay-credential", b"blindrelay-cache-salt"):
        head = request_head("https://first.example/v1/chat/completions", credential=credential)
        head.headers.append(inner.Header(name=name, value=b"claude my-key-2"))
        answer = await house.caller.exchange(head, b'{"model":"m","messages":[]}')
        assert answer.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert house.counts == {}


async def test_only_the_bridge_says_who_answered(house: House) -> None:
    """With a brought credential the provider's other headers pass."""
    first, _ = await two_providers(house)
    first.script = response(headers=b"blindrelay-served-by: liar\r\nx-own: 1\r\n")
    answer = await house.ask(brought=(b"first k",))
    assert (answer.headers["blindrelay-served-by"], answer.headers["x-own"]) == ("first/m", "1")


async def test_brought_bodies_pass_unchecked_but_for_the_model(house: House) -> None:
    first = await house.provider("first")
    await house.open(Model("m", (Target("first", "real"),)))
    body = b'{"store": true, "previous_response_id": "r1", "model": "m"}'
    assert (await house.ask(path="/v1/responses", body=body, brought=(b"first k",))).status == 200
    assert first.received[0].body == body.replace(b'"m"', b'"real"')
