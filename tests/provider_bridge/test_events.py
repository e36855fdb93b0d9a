"""What the bridge writes down: a closed list of events, and exchanges as counts in classes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, Event, EventLog, Outcome, ProviderError
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.trust import IdentityKey
from blindrelay.v1.inner_pb2 import EXECUTION_STARTED, ErrorCode

from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received, answer
from .sealed_caller import SealedCaller, outer_status, parts, request_head

EVENTS = {event.name.lower() for event in Event} | {"exchanges", "fault"}
OUTCOMES = {
    *(outcome.value for outcome in Outcome),
    *(f"provider_{failure.value}" for failure in Failure),
    *(name.removeprefix("ERROR_CODE_").lower() for name in ErrorCode.keys()),  # noqa: SIM118 - an enum
}


def test_outcomes_and_errors_are_counted() -> None:
    lines: list[str] = []
    log = EventLog(lines.append)
    log.count(Outcome.REFUSED)
    log.count_error(ProviderError(Failure.CUT, "x", EXECUTION_STARTED))
    log.report()
    (line,) = lines
    assert json.loads(line)["outcomes"] == {"provider_cut": 10, "refused": 10}


@pytest.mark.parametrize("event", [Event.TOKENS_UNREADABLE, Event.CERTIFICATES_UNUSABLE, Event.CLAIMS_FULL])
def test_what_a_caller_can_provoke_waits_for_the_minute(event: Event) -> None:
    lines: list[str] = []
    log = EventLog(lines.append)
    log.note(event)
    assert lines == []
    log.report()
    assert event.value in lines[0]


async def cancelled_while_streaming(caller: SealedCaller, provider: FakeProvider) -> None:
    gone = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        await connection.gone()
        gone.set()

    provider.script = script
    request = await caller.seal()
    call = await caller.send(request)
    await anext(parts(call, request))
    call.cancel()
    await gone.wait()


async def cancelled_in_the_request(caller: SealedCaller, _: FakeProvider) -> None:
    request = await caller.seal(body=b"x" * 500_000)
    call = caller.start(request)
    await call.write(request.messages[0])
    await asyncio.sleep(0.1)
    call.cancel()


async def cancelled_under_back_pressure(caller: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(b"x" * 30_000_000)
    request = await caller.seal()
    call = await caller.send(request)
    await anext(parts(call, request))
    await asyncio.sleep(0.2)
    call.cancel()


async def completed(caller: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(b"the canary", headers=b"x-request-id: canary\r\n")
    assert (await caller.exchange()).status == 200


async def not_allowed(caller: SealedCaller, _: FakeProvider) -> None:
    got = await caller.exchange(request_head("https://canary.example/v1/canary?canary"))
    assert got.code == "NOT_ALLOWED"


async def refused(caller: SealedCaller, _: FakeProvider) -> None:
    request = await caller.seal()
    await outer_status(await caller.send(replace(request, messages=[b"canary"])))


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        (cancelled_while_streaming, "cancelled"),
        (cancelled_in_the_request, "cancelled"),
        (cancelled_under_back_pressure, "cancelled"),
        (completed, "completed"),
        (not_allowed, "not_allowed"),
        (refused, "refused"),
    ],
)
async def test_an_exchange_leaves_a_count_and_nothing_else(
    config: BridgeConfig,
    identity: IdentityKey,
    provider: FakeProvider,
    what: Callable[[SealedCaller, FakeProvider], object],
    outcome: str,
) -> None:
    lines: list[str] = []
    log = EventLog(lines.append)
    async with (
        Bridge(config, identity, log).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        await what(caller, provider)  # type: ignore[misc]
        await asyncio.sleep(0.2)
    counts = [found for line in lines if (found := json.loads(line).get("outcomes"))]
    assert counts == [{outcome: 10}]
    assert outcome in OUTCOMES
    assert {json.loads(line)["event"] for line in lines} <= EVENTS
    assert "canary" not in "".join(lines)
    assert str(provider.port) not in "".join(lines)
