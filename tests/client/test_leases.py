"""A relay that gives leases: what the client shows, when it renews, and what it does about lease_unknown."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock, Mock

import httpx2
import pytest

from blindrelay.client import SealedTransport
from blindrelay.client.lease import RENEW_AGAIN_SECONDS, Lease
from blindrelay.client.relay_errors import relay_error
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import RETRY_AFTER_KEY, authorization
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import wait_for

from .conftest import URL
from .scripted_bridge import Received, Responder, ScriptedBridge, head

ERROR = "x-blindrelay-error"
LIMITS = [status for status in OuterStatus if status.details.startswith("limit_")]
OPENAI, ANTHROPIC = URL, "https://api.anthropic.com/v1/messages"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"
MISTRAL, COHERE = "https://api.mistral.ai/v1/chat/completions", "https://api.cohere.com/v2/chat"


def shown(received: Received) -> str:
    return str(received.metadata["authorization"])


def test_exchanges_show_the_lease_and_never_the_token(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.lease = "lease-1"
    assert [client.get(URL).status_code for _ in range(3)] == [200] * 3
    assert [shown(received) for received in bridge.received] == ["Bearer lease-1"] * 3
    assert (bridge.directory_requests, bridge.calls) == (1, 3)


def test_relay_without_leases_is_shown_the_token(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    client.get(URL)
    assert shown(bridge.received[0]) == f"Bearer {bridge.token}"
    assert bridge.directory_requests == 1


@pytest.mark.parametrize("size", [3, 3_000_000], ids=["one record", "many records"])
def test_unknown_lease_is_replaced_at_once(bridge: ScriptedBridge, client: httpx2.Client, size: int) -> None:
    """As after a restart of the relay. The program does not notice, even if its body is read only once."""
    bridge.lease = "lease-1"
    client.get(URL)
    for lease, once in (("lease-2", False), ("lease-3", True)):
        bridge.lease = lease
        content = iter([b"x" * size]) if once else b"x" * size
        assert client.post(URL, content=content).status_code == 200
        assert shown(bridge.received[-1]) == f"Bearer {lease}"
        assert bridge.received[-1].body == b"x" * size
    assert bridge.directory_requests == 3


def test_call_is_made_again_with_the_same_bytes(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """So a relay that runs the exchange and denies it gets no second run: the bridge knows these bytes."""
    bridge.lease = "lease-1"
    client.get(URL)
    sent: list[tuple[bytes, bytes]] = []
    serve = bridge._serve

    async def noted(context: Any) -> None:
        message = await context.read()
        metadata = context.invocation_metadata()
        sent.append((dict(metadata)["blindrelay-envelope-bin"], message))
        if len(sent) == 1:
            bridge.lease = "lease-2"
            await context.abort(*OuterStatus.LEASE_UNKNOWN.value)
        reading = AsyncMock(return_value=message)
        await serve(Mock(wraps=context, read=reading, write=context.write))

    bridge._serve = noted  # type: ignore[method-assign]
    assert client.post(URL, json={"a": 1}).status_code == 200
    assert len(sent) == 2
    assert sent[0] == sent[1]


@pytest.mark.parametrize("size", [3, 3_000_000], ids=["one record", "many records"])
def test_lease_that_stays_unknown_is_an_error(
    bridge: ScriptedBridge, client: httpx2.Client, size: int
) -> None:
    """A new one is fetched once for an exchange, so a relay cannot make the client go in circles."""
    bridge.lease = "lease-1"
    client.get(URL)
    bridge.substitute = lambda response: setattr(response, "lease", f"{time.monotonic()}")
    fetched, calls = bridge.directory_requests, bridge.calls
    bridge.lease = "wanted"
    with pytest.raises(httpx2.ConnectError, match="does not know the lease"):
        client.post(URL, content=b"x" * size)
    assert (bridge.directory_requests - fetched, bridge.calls - calls) == (1, 2)


def test_nothing_else_makes_it_send_again(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """Whatever the relay says, and whether another lease is to be had or not."""
    bridge.lease = "lease-1"
    client.get(URL)
    for status in (OuterStatus.BRIDGE_UNAVAILABLE, OuterStatus.UNAUTHENTICATED, OuterStatus.OVERLOADED):

        async def refuse(_: Received, respond: Responder, status: OuterStatus = status) -> None:
            bridge.lease += "x"
            await respond.context.abort(*status.value)

        bridge.answer = refuse
        calls, fetched = bridge.calls, bridge.directory_requests
        with suppress(httpx2.ConnectError):
            assert client.get(URL).status_code in (401, 429)
        bridge.lease = "lease-1"
        assert (bridge.calls, bridge.directory_requests) == (calls + 1, fetched)


def test_lease_unknown_after_the_response_began_cuts_it(
    bridge: ScriptedBridge, client: httpx2.Client
) -> None:
    bridge.lease = "lease-1"

    async def begin_and_deny(_: Received, respond: Responder) -> None:
        await respond.send(head=head(), body=b"some")
        await respond.context.abort(*OuterStatus.LEASE_UNKNOWN.value)

    bridge.answer = begin_and_deny
    with pytest.raises(httpx2.RemoteProtocolError, match="cut before its end"):
        client.get(URL)
    assert bridge.calls == 1


def test_one_renewal_serves_all_exchanges(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.lease = "lease-1"
    client.get(URL)
    bridge.lease = "lease-2"
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: client.get(URL).status_code, range(32))) == [200] * 32
    assert bridge.directory_requests <= 3


def test_lease_is_renewed_while_it_is_valid(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """At half its life, in the background: no exchange waits for it."""
    bridge.lease, bridge.lease_seconds = "lease-1", 2
    client.get(URL)
    bridge.lease_seconds = 300

    def renewed() -> bool:
        client.get(URL)
        return bridge.directory_requests == 2

    wait_for(renewed)
    assert client.get(URL).status_code == 200
    assert bridge.directory_requests == 2


async def test_each_connection_has_a_lease_of_its_own(bridge: ScriptedBridge) -> None:
    """Each may be at another process of the relay. Keys are shared."""
    bridge.lease = "lease-1"
    with SealedTransport(bridge.connection) as transport:
        with transport.httpx2_client() as client:
            await asyncio.to_thread(client.get, URL)
        bridge.lease = "lease-2"
        async with transport.async_httpx2_client() as another:
            assert (await another.get(URL)).status_code == 200
    assert (bridge.directory_requests, bridge.calls) == (2, 2), "no exchange was refused"


@pytest.mark.parametrize("lease", ["with space", "line\nbreak", "é", "x" * 2_049])
def test_invalid_lease_is_refused(bridge: ScriptedBridge, client: httpx2.Client, lease: str) -> None:
    bridge.lease = lease
    with pytest.raises(httpx2.ReadError, match="invalid lease"):
        client.get(URL)
    assert bridge.calls == 0


def test_account_without_units_gets_a_429(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """Already with the directories: there is no lease for it."""
    bridge.refuse_directories = OuterStatus.LIMIT_UNITS
    response = client.get(URL)
    assert (response.status_code, response.headers[ERROR]) == (429, "relay/limit_units")
    assert response.headers["retry-after"] == "60"
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("url", [OPENAI, ANTHROPIC, GEMINI, MISTRAL, COHERE])
@pytest.mark.parametrize("status", LIMITS, ids=lambda status: status.details)
@pytest.mark.parametrize(
    ("hint", "header", "again"),
    [("7", "7", True), ("60", "60", True), ("3600", "3600", False), ("", "60", False), ("-1", "60", False)],
)
def test_limit_is_a_429_that_says_when_to_try_again(
    bridge: ScriptedBridge,
    client: httpx2.Client,
    url: str,
    status: OuterStatus,
    hint: str,
    header: str,
    again: bool,
) -> None:
    """An SDK tries again by itself only where that helps."""

    async def refuse(_: Received, respond: Responder) -> None:
        trailing = ((RETRY_AFTER_KEY, hint),) if hint else ()
        await respond.context.abort(*status.value, trailing)

    bridge.answer = refuse
    response = client.post(url, json={})
    assert (response.status_code, response.headers["retry-after"]) == (429, header)
    assert ("x-should-retry" not in response.headers) is again
    assert response.headers[ERROR] == f"relay/{status.details}"
    assert f"blindrelay_{status.details}" in json.dumps(response.json()).lower()


def test_token_without_the_scope_is_a_403(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.refuse = OuterStatus.NOT_IN_SCOPE
    response = client.get(URL)
    assert (response.status_code, response.headers["x-should-retry"]) == (403, "false")
    assert bridge.calls == 1


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ("1", 1),
        ("999999999", 999_999_999),
        ("1234567890", 0),
        ("1.5", 0),
        ("1 ", 0),
        (b"1", 0),
        ("\u0661", 0),
    ],
)
def test_relays_hint_may_be_anything(hint: str | bytes, seconds: int) -> None:
    error = relay_error(*OuterStatus.LIMIT_RATE.value, [("x", "3"), (RETRY_AFTER_KEY, hint)])
    assert error.retry_after == seconds


def test_lease_runs_on_the_clients_own_clock() -> None:
    now = [1_000.0]
    lease = Lease("brt_token", lambda: now[0])
    assert lease.shown == lease.token == (authorization("brt_token"),)
    assert not lease.is_valid
    assert not lease.is_to_be_renewed()
    lease.take(GetKeyDirectoryResponse(lease="lease", lease_seconds=300))
    assert lease.shown == (authorization("lease"),)
    assert lease.token == (authorization("brt_token"),)
    now[0] += 149
    assert not lease.is_to_be_renewed()
    now[0] += 1
    assert [lease.is_to_be_renewed() for _ in range(3)] == [True, False, False]
    now[0] += RENEW_AGAIN_SECONDS
    assert lease.is_to_be_renewed()
    valid = [lease.is_valid]
    now[0] = 1_300.0
    valid.append(lease.is_valid)
    lease.take(GetKeyDirectoryResponse(lease="new", lease_seconds=300))
    assert [*valid, lease.is_valid] == [True, False, True]
    lease.drop()
    assert lease.shown == lease.token
    assert not lease.is_valid
    lease.take(GetKeyDirectoryResponse(lease="new", lease_seconds=300))
    lease.take(GetKeyDirectoryResponse())
    assert lease.shown == lease.token
    assert Lease(None).shown == ()
