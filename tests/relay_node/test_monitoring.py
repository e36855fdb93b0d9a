"""Health says whether exchanges can succeed now. Metrics are a closed list, and show no single exchange."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.serving import Address
from blindrelay.serving.health import SERVICES
from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RunningRelay, StartRelay
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import refusal

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def watching(relay: RunningRelay, service: str = "") -> Any:
    method: Any = relay.client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )
    return method(HealthCheckRequest(service=service), timeout=60)


async def check(relay: RunningRelay, request: bytes = b"") -> Any:
    method: Any = relay.client.channel.unary_unary("/grpc.health.v1.Health/Check")
    return HealthCheckResponse.FromString(await method(request)).status


async def test_health_follows_the_bridge(relay: RunningRelay, bridge: FakeBridge) -> None:
    requests = [HealthCheckRequest(service=service).SerializeToString() for service in SERVICES]
    watches = [watching(relay, service) for service in SERVICES]
    for watch in watches:
        while (await watch.read()).status != SERVING:
            pass
    assert [await check(relay, request) for request in requests] == [SERVING, SERVING]
    await bridge.stop()
    assert [(await watch.read()).status for watch in watches] == [NOT_SERVING, NOT_SERVING]
    assert [await check(relay, request) for request in requests] == [NOT_SERVING, NOT_SERVING]
    assert await refusal(check(relay, b"\xff\xff")) is OuterStatus.MALFORMED
    for watch in watches:
        watch.cancel()


async def test_draining_relay_is_not_serving(relay: RunningRelay, bridge: FakeBridge) -> None:
    await relay.client.directories()
    await relay.relay._drain()
    assert await check(relay) == NOT_SERVING
    await bridge.restart()
    await asyncio.sleep(0.5)
    assert await check(relay) == NOT_SERVING


async def scrape(address: Address) -> dict[str, float]:
    """The samples of GET /metrics."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    page = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name.removeprefix("blindrelay_relay_"): float(value) for name, _, value in lines}


async def test_calls_show_once_a_minute_and_in_tens(bridge: FakeBridge, start_relay: StartRelay) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])
    relay = await start_relay(bridge.config, metrics=address)
    quiet = {"replicas": 1, "replicas_up": 1, "exchanges_running": 0}
    calls = [await relay.client.open(bridge.envelope()) for _ in range(12)]
    for _ in range(19):
        await relay.client.exchange(bridge.envelope())
    assert await scrape(address) == quiet
    relay.log.report()
    assert await scrape(address) == {**quiet, "exchanges_running": 10, 'exchanges_total{outcome="ok"}': 10}
    for call in calls:
        call.cancel()
