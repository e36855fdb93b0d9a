"""The standard health service says what the relay can do now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.serving.health import MAX_WATCHES
from blindrelay.v1.outer_status import OuterStatus

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay, StartRelay

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def health(relay: RunningRelay, method: str = "Check") -> Any:
    channel = relay.client.channel
    kind: Any = channel.unary_unary if method == "Check" else channel.unary_stream
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )


@pytest.mark.parametrize("service", ["", "blindrelay.v1.ExchangeService"])
async def test_serving_follows_the_bridge(
    bridge: FakeBridge,
    start_relay: StartRelay,
    until: Callable[[Callable[[], bool]], Awaitable[None]],
    service: str,
) -> None:
    relay = await start_relay(bridge.config)
    request = HealthCheckRequest(service=service)
    watch = health(relay, "Watch")(request, timeout=60)
    while (await watch.read()).status != SERVING:
        pass
    assert (await health(relay)(request)).status == SERVING
    await bridge.stop()
    assert (await watch.read()).status == NOT_SERVING
    assert (await health(relay)(request)).status == NOT_SERVING
    watch.cancel()


async def test_not_serving_while_draining(relay: RunningRelay, bridge: FakeBridge) -> None:
    await relay.client.directories()
    await relay.relay._drain()
    assert (await health(relay)(HealthCheckRequest())).status == NOT_SERVING
    await bridge.stop()
    await bridge.start()
    await asyncio.sleep(0.5)
    assert (await health(relay)(HealthCheckRequest())).status == NOT_SERVING


async def test_an_unreadable_request_is_answered_in_our_words(relay: RunningRelay) -> None:
    raw: Any = relay.client.channel.unary_unary("/grpc.health.v1.Health/Check")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await raw(b"\xff\xff")
    assert failure.value.details() == "malformed"


async def test_an_unknown_service_is_not_found(relay: RunningRelay) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await health(relay)(HealthCheckRequest(service="another"))
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watches_from_one_address_are_few_and_leave_room_when_they_end(relay: RunningRelay) -> None:
    """They cost a token nobody has to show, and last as long as their caller likes."""
    watches = [health(relay, "Watch")(HealthCheckRequest(), timeout=60) for _ in range(MAX_WATCHES // 2)]
    for watch in watches:
        await watch.read()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await health(relay, "Watch")(HealthCheckRequest(), timeout=60).read()
    assert (failure.value.code(), failure.value.details()) == OuterStatus.OVERLOADED.value
    assert (await health(relay)(HealthCheckRequest())).status in (SERVING, NOT_SERVING)
    watches.pop().cancel()

    async def next_watch() -> None:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await health(relay, "Watch")(HealthCheckRequest(), timeout=60).read()
                return

    async with asyncio.timeout(20):
        await next_watch()
