"""Who is asked when somebody fails: only where nothing ran, one after the other, and nobody twice."""

from __future__ import annotations

import asyncio
import json

import pytest

from blindrelay.provider_bridge import AuditLog, Event
from blindrelay.provider_bridge.aggregate.model_table import Model, Target
from blindrelay.testbed.ports import free_port
from tests.patience import PATIENCE

from ..scripted_provider import EVENT_STREAM, Connection, Script, ScriptedProvider, chunk, raw, response
from ..sealed_caller import Response, request_head
from ..test_time import late
from .conftest import CHAT, House, at, by_secret, error_of

EMBEDDING = b'{"model":"m","input":"x"}'
BODY = CHAT.replace(b"%b", b"m")


def status(code: int, headers: bytes = b"") -> Script:
    return response(b'{"error":{"message":"no"}}', status=b"%d Status" % code, headers=headers)


@pytest.mark.parametrize("code", [401, 402, 403, 404, 429, 503, 529])
async def test_refusal_at_once_is_not_seen_by_the_client(house: House, code: int) -> None:
    await house.provider("first", status(code))
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    answer = await house.ask()
    assert (answer.status, answer.headers["blindrelay-served-by"]) == (200, "second/m")
    assert house.counts == {"first": 1, "second": 1}
    assert (await house.ask()).status == 200
    assert house.counts == {"first": 1, "second": 2}, "it rests"


@pytest.mark.parametrize("code", [400, 409, 413, 422, 500, 502, 504])
async def test_what_may_have_run_is_passed_on(house: House, code: int) -> None:
    await house.provider("first", status(code))
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    answer = await house.ask()
    assert (answer.status, answer.headers["blindrelay-served-by"]) == (code, "first/m")
    assert house.counts == {"first": 1}, "never two calls for one answer"
    again = await house.ask()
    expected = "second/m" if code >= 500 else "first/m"
    assert again.headers["blindrelay-served-by"] == expected, "what an SDK asks again lands elsewhere"


async def test_dead_provider_is_not_seen_by_the_client(house: House) -> None:
    await house.provider("first", target=f"http://127.0.0.1:{free_port()}", secrets=("sk-a", "sk-b"))
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    assert (await house.ask()).status == 200
    assert house.attempts == {"unreachable": 1, "served": 1}, "its other credential would meet the same"


async def test_dead_provider_is_tried_by_the_bridge_and_by_no_request(house: House) -> None:
    first = ScriptedProvider(port=free_port())
    await house.provider("first", target=f"http://127.0.0.1:{first.port}")
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    for _ in range(3):
        assert (await house.ask()).headers["blindrelay-served-by"] == "second/m"
        house.now += 60.0
        await house.router.try_unreached()
    assert house.attempts == {"unreachable": 1, "served": 3}
    async with first.serving():
        assert (await house.ask()).headers["blindrelay-served-by"] == "second/m"
        house.now += 300.0
        await house.router.try_unreached()
        assert first.received == [], "nothing is sent"
        assert (await house.ask()).headers["blindrelay-served-by"] == "first/m"


async def test_connection_that_breaks_after_the_request_is_an_error(house: House) -> None:
    await house.provider("first", raw(b"", cut=True))
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    assert (await house.ask()).failure == ("PROVIDER_FAILED", "UNKNOWN")
    assert house.counts == {"first": 1}
    assert (await house.ask()).headers["blindrelay-served-by"] == "second/m"


async def test_nobody_else_is_asked_after_a_response_has_begun(house: House) -> None:
    await house.provider("first", raw(EVENT_STREAM + chunk(b"data: 1\n\n"), cut=True))
    await house.provider("second")
    await house.open(Model("m", at("first", "second")))
    answer = await house.ask()
    assert (answer.status, answer.body) == (200, b"data: 1\n\n")
    assert answer.failure == ("PROVIDER_FAILED", "STARTED")
    assert house.counts == {"first": 1}


async def test_of_many_failures_the_client_gets_the_one_that_says_most(house: House) -> None:
    """It can wait for a limit. It can do nothing about the bridge's credentials."""
    script = by_secret(a=status(401), b=status(429, b"retry-after: 7\r\n"), c=status(404))
    await house.provider("first", script, secrets=("sk-a", "sk-b", "sk-c"))
    await house.provider("dead", target=f"http://127.0.0.1:{free_port()}")
    await house.open(Model("m", (Target("first", "m"), Target("dead", "m"))))
    answer = await house.ask()
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["blindrelay-served-by"] == "first/m"
    assert error_of(answer)["message"] == "no"
    assert house.counts == {"first": 3}
    assert house.attempts == {"refused": 1, "busy": 1, "not_here": 1, "unreachable": 1}


async def test_nobody_at_all_is_reached(house: House) -> None:
    for name in ("first", "second"):
        await house.provider(name, target=f"http://127.0.0.1:{free_port()}")
    await house.open(Model("m", at("first", "second")))
    for _ in range(2):
        assert (await house.ask()).failure == ("PROVIDER_UNREACHABLE", "NOT_STARTED")


async def test_litellm_3646_who_rests_is_asked_when_there_is_nobody_else(house: House) -> None:
    """BerriAI/litellm#3646: all deployments cool down, and requests fail without anybody being asked."""
    first = await house.provider("first", status(500))
    await house.open(Model("m", at("first")))
    assert (await house.ask()).status == 500
    first.script = response()
    for _ in range(3):
        assert (await house.ask()).status == 200
    assert house.counts == {"first": 4}


async def test_failure_of_one_model_does_not_rest_the_others(house: House) -> None:
    """A limit of one model is no reason to avoid another one with the same credential."""

    async def script(connection: Connection) -> None:
        busy = b'"slow"' in connection.request.body
        await (status(429, b"retry-after: 60\r\n") if busy else response())(connection)

    await house.provider("first", script)
    await house.provider("second")
    await house.open(
        Model("slow", (Target("first", "slow"), Target("second", "slow", priority=1))),
        Model("m", at("first", "second")),
    )
    assert (await house.ask("slow")).headers["blindrelay-served-by"] == "second/slow"
    assert (await house.ask("m")).headers["blindrelay-served-by"] == "first/m"


async def test_refused_request_is_not_held_against_anybody(house: House) -> None:
    """Everybody answers 403 to it, so the request is the cause: a moderated text, say."""
    await house.provider("first", status(403), secrets=("sk-a", "sk-b"))
    await house.open(Model("m", at("first")))
    assert (await house.ask()).status == 403
    assert house.router.attempts.health.resting == 0


async def test_new_api_3414_affinity_does_not_pin_to_a_disabled_credential(house: House) -> None:
    """new-api#3414, #4540: a conversation stays at a channel that answers 403 or 429, others being idle."""
    healthy = {"a": response(), "b": response(), "c": response()}
    scripts = dict(healthy)

    async def script(connection: Connection) -> None:
        await by_secret(**scripts)(connection)

    await house.provider("first", script, secrets=("sk-a", "sk-b", "sk-c"))
    await house.open(Model("m", at("first")))

    async def credential_of(turn: int) -> str:
        said = b'{"role":"user","content":"Hello"}' + b',{"role":"assistant","content":"x"}' * turn
        answer = await house.ask(body=b'{"model":"m","messages":[' + said + b"]}")
        assert answer.status == 200, answer
        return house.received("first")[-1].named[b"authorization"].decode()[-1]

    used = {await credential_of(turn) for turn in range(5)}
    assert len(used) == 1, "a growing conversation stays with one credential, whose prompt cache has it"
    (pinned,) = used
    for code in (403, 429, 401):
        scripts = healthy | {pinned: status(code)}
        before = len(house.received("first"))
        assert {await credential_of(turn) for turn in range(6)} - {pinned}
        asked = [each.named[b"authorization"].decode()[-1] for each in house.received("first")[before:]]
        assert asked.count(pinned) <= 1, "it is left alone after its first failure"


async def test_conversations_spread_over_a_pool_by_weight(house: House) -> None:
    await house.provider("first", secrets=("sk-a",))
    await house.provider("second", secrets=("sk-b",))
    await house.open(Model("m", (Target("first", "m", weight=3), Target("second", "m"))))
    house.router.attempts.chooser._key = bytes(32)
    for number in range(80):
        body = b'{"model":"m","messages":[{"role":"user","content":"%d"}]}' % number
        await house.ask(body=body)
    assert 43 <= house.counts["first"] <= 75, house.counts  # with this key always the same


async def test_direct_calls_use_the_pool_too(house: House) -> None:
    script = by_secret(a=status(401), b=response())
    await house.provider("first", script, secrets=("sk-a", "sk-b"))
    caller = await house.open(Model("m", at("first")))
    for _ in range(4):
        answer = await caller.exchange(request_head("https://first.example/v1/chat/completions"), BODY)
        assert answer.status == 200
        assert "blindrelay-served-by" not in answer.headers
    asked = [each.named[b"authorization"] for each in house.received("first")]
    assert asked.count(b"Bearer sk-a") <= 1
    assert asked.count(b"Bearer sk-b") == 4


async def test_refused_credential_of_the_bridge_is_logged(house: House) -> None:
    lines: list[str] = []
    log = AuditLog(lines.append)
    await house.provider("first", by_secret(a=status(401), b=response()), secrets=("sk-a", "sk-b"))
    await house.open(Model("m", at("first")), log=log)
    while "refused" not in house.attempts:  # who is drawn is random
        assert (await house.ask(path="/v1/embeddings", body=EMBEDDING)).status == 200
    assert not any("credential_refused" in line for line in lines), "not when it happens"
    log.report()
    (noted,) = (json.loads(line) for line in lines if "credential_refused" in line)
    assert noted["message"] == Event.CREDENTIAL_REFUSED.value


async def test_deadline_ends_the_attempt(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await house.provider("first", raw(b""))
    await house.provider("second")
    caller = await house.open(Model("m", at("first", "second")))
    head = request_head("https://models.blindrelay.internal/v1/chat/completions")
    got = await late(caller, await caller.seal(head, BODY), first.asked(), monkeypatch)
    assert got.failure == ("DEADLINE", "UNKNOWN")
    await first.idle()
    assert house.counts == {"first": 1}


async def test_client_that_leaves_ends_the_attempt(house: House) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def silent(connection: Connection) -> None:
        asked.set()
        await connection.gone()
        gone.set()

    await house.provider("first", silent)
    await house.provider("second")
    caller = await house.open(Model("m", at("first", "second")))
    head = request_head("https://models.blindrelay.internal/v1/chat/completions")
    call = await caller.send(await caller.seal(head, BODY))
    await asyncio.wait_for(asked.wait(), PATIENCE)
    call.cancel()
    await asyncio.wait_for(gone.wait(), PATIENCE)
    assert house.counts == {"first": 1}


async def test_slow_credential_keeps_its_call_and_holds_no_other(house: House) -> None:
    """Its provider may be at work, so nobody else is asked; the next calls go elsewhere."""
    known, asked, release = set[bytes](), asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> None:
        if len(known) == 2:
            asked.set()
            await release.wait()
            await response(b'{"slow":1}')(connection)
        else:
            await response()(connection)

    await house.provider("first", by_secret(a=slow, b=response()), secrets=("sk-a", "sk-b"))
    await house.open(Model("m", at("first")))
    now = 1_000.0
    house.router.attempts.speeds._now = lambda: now
    while len(known) < 2:
        await house.ask(path="/v1/embeddings", body=EMBEDDING)
        known |= {each.named[b"authorization"] for each in house.received("first")}
    before = len(house.received("first"))
    waiting = asyncio.create_task(asked.wait())
    calls: set[asyncio.Task[Response]] = set()
    while not asked.is_set():  # who is drawn is random
        calls.add(asyncio.create_task(house.ask(path="/v1/embeddings", body=EMBEDDING)))
        await asyncio.wait({waiting, *calls}, return_when=asyncio.FIRST_COMPLETED)
        calls = {call for call in calls if not call.done()}
    now += 2.0
    for _ in range(12):
        assert (await house.ask(path="/v1/embeddings", body=EMBEDDING)).body == b"{}"
    release.set()
    assert [(await call).body for call in calls] == [b'{"slow":1}']
    after = [each.named[b"authorization"] for each in house.received("first")[before:]]
    assert after.count(b"Bearer sk-a") == 1
