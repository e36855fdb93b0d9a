"""The standard health service says whether exchanges can succeed now."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.serving.health import MAX_WATCHES
from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RunningRelay
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import refusal

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
ANY = HealthCheckRequest()


def health(relay: RunningRelay, method: str = "Check") -> Any:
    channel = relay.client.channel
    kind: Any = channel.unary_unary if method == "Check" else channel.unary_stream
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )


@pytest.mark.parametrize("service", ["", "blindrelay.v1.ExchangeService"])
async def test_health_follows_the_bridge(relay: RunningRelay, bridge: FakeBridge, service: str) -> None:
    request = HealthCheckRequest(service=service)
    watch = health(relay, "Watch")(request, timeout=60)
    while (await watch.read()).status != SERVING:
        pass
    assert (await health(relay)(request)).status == SERVING
    await bridge.stop()
    assert (await watch.read()).status == NOT_SERVING
    assert (await health(relay)(request)).status == NOT_SERVING
    watch.cancel()


async def test_draining_relay_is_not_serving(relay: RunningRelay, bridge: FakeBridge) -> None:
    await relay.client.directories()
    await relay.relay._drain()
    assert (await health(relay)(ANY)).status == NOT_SERVING
    await bridge.restart()
    await asyncio.sleep(0.5)
    assert (await health(relay)(ANY)).status == NOT_SERVING


async def test_invalid_request_is_malformed(relay: RunningRelay) -> None:
    raw: Any = relay.client.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await refusal(raw(b"\xff\xff")) is OuterStatus.MALFORMED


async def test_unknown_service_is_not_found(relay: RunningRelay) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await health(relay)(HealthCheckRequest(service="another"))
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watches_from_one_address_are_limited(relay: RunningRelay) -> None:
    """They need no token, and last as long as their caller likes."""
    watch = health(relay, "Watch")
    watches = [watch(ANY, timeout=60) for _ in range(MAX_WATCHES // 2)]
    for each in watches:
        await each.read()
    assert await refusal(watch(ANY, timeout=60).read()) is OuterStatus.OVERLOADED
    assert (await health(relay)(ANY)).status in (SERVING, NOT_SERVING)
    watches.pop().cancel()

    async def next_watch() -> None:
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await watch(ANY, timeout=60).read()
                return

    async with asyncio.timeout(20):
        await next_watch()
