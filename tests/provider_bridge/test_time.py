"""Deadlines, clients that leave or take nothing, draining, and the health that says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.provider_bridge import request_body
from blindrelay.provider_bridge.request_body import Pace
from blindrelay.serving import issue_token
from blindrelay.v1.inner_pb2 import ERROR_CODE_DRAINING, EXECUTION_NOT_STARTED
from blindrelay.v1.limits import RECORD_SECONDS
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import until

from .conftest import Serve
from .replica import skip
from .scripted_provider import (
    EVENT_STREAM,
    LAST_CHUNK,
    Connection,
    Script,
    ScriptedProvider,
    chunk,
    flood,
    raw,
    stepwise,
)
from .sealed_caller import Response, SealedCaller, SealedRequest, collect, health, parts


async def test_request_that_stops_or_trickles_is_ended(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, seconds in (("RECORD_SECONDS", 0.1), ("GRACE_SECONDS", -63.0)):
        with monkeypatch.context() as patched:
            patched.setattr(request_body, limit, seconds)
            request = await bridge.seal(body=bytes(1_000_000))
            got = await collect(await bridge.begin(request), request)
        assert got.failure == ("DEADLINE", "NOT_STARTED")
    assert provider.connections == 0


async def test_request_needs_a_kilobyte_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """In full records; 32 MiB then take over nine hours."""
    now = 1_000.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    assert Pace().due(33_554_432) == now + RECORD_SECONDS, "a request that stops"
    for rate, fast_enough in ((1_024, True), (100, False)):
        pace, received = Pace(), 0
        while received < 33_554_432 and now < pace.due(received):
            received += 16_384
            now += 16_384 / rate
        assert (received == 33_554_432) is fast_enough


async def test_exchange_that_arrives_after_its_deadline_is_not_started(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    got = await bridge.complete(await bridge.seal(issued_at=int(time.time()) // 10 * 10 - 100))
    assert got.failure == ("DEADLINE", "NOT_STARTED")
    assert provider.connections == 0


async def late(
    caller: SealedCaller,
    request: SealedRequest,
    begun: Awaitable[None] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> Response:
    """The response to a request whose time is up after `begun`, or else after the response has begun."""
    call, response = await caller.send(request), Response()
    received = parts(call, request)
    if begun is None:
        response.take(await anext(received))
        await caller.written()
    else:
        await begun
    skip(60, monkeypatch)
    async for part in received:
        response.take(part)
    return response


async def test_deadline_ends_the_call_to_the_provider(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sent, begun, execution in (
        (b"", provider.asked(), "UNKNOWN"),
        (EVENT_STREAM + b"3\r\nabc\r\n", None, "STARTED"),
    ):
        provider.script = raw(sent)
        got = await late(bridge, await bridge.seal(), begun, monkeypatch)
        assert got.failure == ("DEADLINE", execution)
        await provider.idle()


async def test_deadline_ends_an_exchange_whose_client_takes_nothing(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = flood
    request = await bridge.seal()
    call = await bridge.send(request)
    await provider.asked()
    (exchange,) = bridge.served._runtime.running
    await until(lambda: exchange._writing)
    skip(60, monkeypatch)
    await provider.idle()
    with pytest.raises(grpc.aio.AioRpcError) as cut:
        await collect(call, request)
    assert (cut.value.code(), cut.value.details()) == OuterStatus.DEADLINE.value


@pytest.mark.parametrize("script", [raw(b""), flood])
async def test_cancelled_exchange_closes_the_providers_connection(
    bridge: SealedCaller, provider: ScriptedProvider, script: Script
) -> None:
    """Before the head, and while the client takes nothing."""
    provider.script = script
    call = await bridge.send(await bridge.seal())
    await provider.asked()
    if script is flood:
        await call.read()
    call.cancel()
    await provider.idle()


async def test_slow_client_slows_the_provider_down(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    sent = 0

    async def script(connection: Connection) -> None:
        nonlocal sent
        await connection.send(EVENT_STREAM)
        while sent < 600:
            await connection.send(chunk(b"x" * 65_536))
            sent += 1
        await connection.send(LAST_CHUNK)

    provider.script = script
    request = await bridge.seal()
    received = parts(await bridge.send(request), request)
    await anext(received)
    stalled_at = -1
    while stalled_at != sent:
        stalled_at = sent
        await asyncio.sleep(0.2)
    assert sent < 400, "of 600 pieces; the rest waits at the provider"
    assert sum([len(part.body) async for part in received]) == 600 * 65_536


async def test_draining_bridge_finishes_what_runs_and_refuses_what_is_new(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    release = asyncio.Semaphore(0)
    provider.script = stepwise(release, EVENT_STREAM, chunk(b"end") + LAST_CHUNK)
    running, late = await bridge.seal(), await bridge.seal()
    response = parts(await bridge.send(running), running)
    await anext(response)
    bridge.served.admission.close()
    await bridge.served.begin_to_drain()
    call = await bridge.send(late)
    refusal = (await anext(parts(call, late))).error
    assert (refusal.code, refusal.execution) == (ERROR_CODE_DRAINING, EXECUTION_NOT_STARTED)
    # The sealed error is for the client; the status is for the relay.
    assert (await call.code(), await call.details()) == OuterStatus.DRAINING.value
    release.release()
    assert b"".join([part.body async for part in response]) == b"end"


async def test_exchange_that_outlasts_draining_gets_a_sealed_error(
    serve: Serve, provider: ScriptedProvider
) -> None:
    provider.script = raw(EVENT_STREAM)
    async with serve(drain=1) as caller:
        request = await caller.seal()
        response = parts(await caller.send(request), request)
        await anext(response)
        await caller.written()
        await caller.served.begin_to_drain()
        assert (await anext(response)).error.code == ERROR_CODE_DRAINING


async def test_health_needs_no_token_and_tells_of_draining(serve: Serve, tmp_path: Path) -> None:
    issue_token(tmp_path / "tokens", "relay", datetime.now(UTC))
    requests = [HealthCheckRequest(service=service) for service in ("", "blindrelay.v1.ExchangeService")]
    async with serve(tokens=tmp_path / "tokens") as caller:
        watch = health(caller, "Watch")(requests[0], timeout=60)
        for status in (HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING):
            assert (await watch.read()).status == status
            assert [(await health(caller)(request)).status for request in requests] == [status] * 2
            await caller.served.begin_to_drain()
        watch.cancel()
