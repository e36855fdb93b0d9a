"""Deadlines, clients that go away or take nothing, and the end of the process."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import grpc
import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, request_body
from blindrelay.provider_bridge.request_body import GRACE_SECONDS, Pace
from blindrelay.trust import IdentityKey
from blindrelay.v1 import limits
from blindrelay.v1.inner_pb2 import ERROR_CODE_DRAINING, EXECUTION_NOT_STARTED, DeadlineClass
from blindrelay.v1.limits import RECORD_SECONDS
from blindrelay.v1.outer_status import OuterStatus

from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received, raw
from .sealed_caller import SealedCaller, collect, parts

LONG = b'{"user":"' + b"a" * 1_000_000 + b'"}'


@pytest.mark.parametrize(("limit", "seconds"), [("RECORD_SECONDS", 0.1), ("GRACE_SECONDS", -63.0)])
async def test_a_request_that_is_too_slow(
    bridge: SealedCaller, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch, limit: str, seconds: float
) -> None:
    """It stops, or it trickles."""
    monkeypatch.setattr(request_body, limit, seconds)
    request = await bridge.seal(body=LONG)
    call = bridge.start(request)
    await call.write(request.messages[0])
    got = await collect(call, request)
    assert (got.code, got.execution) == ("DEADLINE", "NOT_STARTED")
    assert "did not arrive in time" in got.message
    assert provider.connections == 0


async def test_a_pace_of_one_kilobyte_a_second_is_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 32 MiB, in full records: over nine hours, for those whose deadline class allows it."""
    now = 1_000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    pace = Pace()
    for received in range(0, 33_554_432, 65_536):
        due = pace.due(received)
        now += 65_536 / 1_024
        assert now < due


async def test_a_pace_ends_for_who_stops_and_for_who_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    assert Pace().due(33_554_432) == now + RECORD_SECONDS
    pace = Pace()
    received = 0
    while now < pace.due(received):
        now += 1
        received += 100
    assert now - 1_000 < 1.2 * GRACE_SECONDS


async def test_an_exchange_that_comes_after_its_deadline(
    bridge: SealedCaller, provider: FakeProvider
) -> None:
    request = await bridge.seal(issued_at=int(time.time()) // 10 * 10 - 100)
    got = await collect(await bridge.send(request), request)
    assert (got.code, got.execution) == ("DEADLINE", "NOT_STARTED")
    assert provider.connections == 0


def deadline_in(seconds: float, issued_at: int) -> tuple[float, ...]:
    """Deadline classes that all end so many seconds from now."""
    return (time.time() - issued_at + seconds,) * len(DeadlineClass.keys())


@pytest.mark.parametrize(
    ("sent", "execution"), [(b"", "UNKNOWN"), (EVENT_STREAM + b"3\r\nabc\r\n", "STARTED")]
)
async def test_a_deadline_ends_the_provider_call(
    bridge: SealedCaller,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    execution: str,
) -> None:
    gone = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(sent)
        await connection.gone()
        gone.set()

    provider.script = script
    issued_at = int(time.time()) // 10 * 10
    monkeypatch.setattr(limits, "DEADLINE_SECONDS", deadline_in(0.5, issued_at))
    request = await bridge.seal(issued_at=issued_at)
    async with asyncio.timeout(10):
        got = await collect(await bridge.send(request), request)
        await gone.wait()
    assert (got.code, got.execution) == ("DEADLINE", execution)


async def test_a_deadline_under_a_client_that_takes_nothing(
    bridge: SealedCaller, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        flood = asyncio.create_task(_flood(connection))
        await connection.gone()
        flood.cancel()
        gone.set()

    provider.script = script
    issued_at = int(time.time()) // 10 * 10
    monkeypatch.setattr(limits, "DEADLINE_SECONDS", deadline_in(1, issued_at))
    request = await bridge.seal(issued_at=issued_at)
    call = await bridge.send(request)
    async with asyncio.timeout(10):
        await gone.wait()
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await collect(call, request)
    assert (cut.value.code(), cut.value.details()) == OuterStatus.DEADLINE.value


@pytest.mark.parametrize("when", ["before_the_head", "between_pieces", "under_back_pressure"])
async def test_a_client_that_goes_away_closes_the_providers_socket_at_once(
    bridge: SealedCaller, provider: FakeProvider, when: str
) -> None:
    began, gone = asyncio.Event(), asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        began.set()
        if when != "before_the_head":
            await connection.send(EVENT_STREAM)
            await connection.send_chunk(b"data: 1\n\n")
        if when == "under_back_pressure":
            flood = asyncio.create_task(_flood(connection))
            await connection.gone()
            flood.cancel()
        else:
            await connection.gone()
        gone.set()

    provider.script = script
    request = await bridge.seal()
    call = await bridge.send(request)
    await began.wait()
    if when != "before_the_head":
        assert (await anext(parts(call, request))).head.status == 200
    await asyncio.sleep(0.3)
    call.cancel()
    async with asyncio.timeout(1):  # it takes milliseconds; the machine may be busy
        await gone.wait()


async def _flood(connection: Connection) -> None:
    while True:
        await connection.send_chunk(b"x" * 65_536)


async def test_a_slow_reader_slows_the_provider_down(bridge: SealedCaller, provider: FakeProvider) -> None:
    sent = 0

    async def script(connection: Connection, _: Received) -> None:
        nonlocal sent
        await connection.send(EVENT_STREAM)
        while sent < 1_000:
            await connection.send_chunk(b"x" * 65_536)
            sent += 1
        await connection.send(b"0\r\n\r\n")

    provider.script = script
    request = await bridge.seal()
    call = await bridge.send(request)
    answer = parts(call, request)
    await anext(answer)
    stalled_at = -1
    while stalled_at != sent:
        stalled_at = sent
        await asyncio.sleep(0.3)
    assert sent < 400, "of 1,000 pieces; the rest waits at the provider"
    size = 0
    async for part in answer:
        size += len(part.body)
    assert size == 65_536_000


async def test_draining_lets_running_exchanges_finish_and_refuses_new_ones(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider
) -> None:
    release = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        await release.wait()
        await connection.send(b"3\r\nend\r\n0\r\n\r\n")

    provider.script = script
    bridge = Bridge(config, identity)
    async with (
        bridge.running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        running, late = await caller.seal(), await caller.seal()
        answer = parts(await caller.send(running), running)
        await anext(answer)
        bridge.admission.close()
        await bridge.begin_to_drain()
        call = await caller.send(late)
        refusal = await anext(parts(call, late))
        assert (refusal.error.code, refusal.error.execution) == (ERROR_CODE_DRAINING, EXECUTION_NOT_STARTED)
        # After its word to the client, one for the relay.
        assert (await call.code(), await call.details()) == OuterStatus.DRAINING.value
        release.set()
        assert b"".join([part.body async for part in answer]) == b"end"


async def test_what_still_runs_when_draining_ends_gets_a_sealed_error(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider
) -> None:
    provider.script = raw(EVENT_STREAM)
    bridge = Bridge(replace(config, drain=1), identity)
    async with (
        bridge.running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        request = await caller.seal()
        answer = parts(await caller.send(request), request)
        await anext(answer)
        await bridge.begin_to_drain()
        async with asyncio.timeout(10):
            error = (await anext(answer)).error
    assert error.message == "the bridge is shutting down"
