"""The bridge's log has a closed list of events, and counts of exchanges instead of exchanges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import AuditLog, Event, Outcome, ProviderError
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.v1.inner_pb2 import EXECUTION_STARTED

from .conftest import Serve
from .scripted_provider import EVENT_STREAM, ScriptedProvider, response, until_gone
from .sealed_caller import SealedCaller, outer_status, parts, request_head

EVENTS = {event.name.lower() for event in Event} | {"exchanges", "fault"}


@pytest.mark.parametrize("event", [Event.TOKENS_UNREADABLE, Event.CERTIFICATES_UNUSABLE, Event.CLAIMS_FULL])
def test_what_a_caller_can_provoke_is_logged_once_a_minute(event: Event) -> None:
    lines: list[str] = []
    log = AuditLog(lines.append)
    log.note(event)
    log.count(Outcome.REFUSED)
    log.count_error(ProviderError(Failure.CUT, "x", EXECUTION_STARTED))
    assert lines == []
    log.report()
    assert event.value in lines[0]
    assert json.loads(lines[-1])["outcomes"] == {"provider_cut": 10, "refused": 10}


async def cancelled_while_streaming(caller: SealedCaller, provider: ScriptedProvider) -> None:
    gone = asyncio.Event()
    provider.script = until_gone(gone, EVENT_STREAM)
    request = await caller.seal()
    call = await caller.send(request)
    await anext(parts(call, request))
    call.cancel()
    await gone.wait()


async def cancelled_in_the_request(caller: SealedCaller, _: ScriptedProvider) -> None:
    call = await caller.begin(await caller.seal(body=b"x" * 500_000))
    await call.initial_metadata()  # it is claimed
    call.cancel()


async def completed(caller: SealedCaller, provider: ScriptedProvider) -> None:
    provider.script = response(b"the canary", headers=b"x-request-id: canary\r\n")
    assert (await caller.exchange()).status == 200


async def not_allowed(caller: SealedCaller, _: ScriptedProvider) -> None:
    got = await caller.exchange(request_head("https://canary.example/v1/canary?canary"))
    assert got.code == "NOT_ALLOWED"


async def refused(caller: SealedCaller, _: ScriptedProvider) -> None:
    request = await caller.seal()
    await outer_status(await caller.send(replace(request, messages=[b"canary"])))


@pytest.mark.parametrize(
    ("exchange", "outcome"),
    [
        (cancelled_while_streaming, "cancelled"),
        (cancelled_in_the_request, "cancelled"),
        (completed, "completed"),
        (not_allowed, "not_allowed"),
        (refused, "refused"),
    ],
)
async def test_exchange_leaves_a_count_and_nothing_else(
    serve: Serve,
    provider: ScriptedProvider,
    exchange: Callable[[SealedCaller, ScriptedProvider], Awaitable[None]],
    outcome: str,
) -> None:
    lines: list[str] = []
    async with serve(log=AuditLog(lines.append)) as caller:
        await exchange(caller, provider)
    counts = [found for line in lines if (found := json.loads(line).get("outcomes"))]
    assert counts == [{outcome: 10}]
    assert {json.loads(line)["event"] for line in lines} <= EVENTS
    for secret in ("canary", str(provider.port)):
        assert secret not in "".join(lines)
