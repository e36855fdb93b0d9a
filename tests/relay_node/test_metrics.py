"""The relay's metrics are a closed list without users, and no scrape shows one exchange."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from blindrelay.relay_node.metrics import relay_metrics
from blindrelay.serving import Address

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay, StartRelay


async def scraped(address: Address) -> dict[str, float]:
    """The samples of GET /metrics."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    page = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name.removeprefix("blindrelay_relay_"): float(value) for name, _, value in lines}


def free_address() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address("127.0.0.1", server.getsockname()[1])


async def test_the_list_is_closed(relay: RunningRelay) -> None:
    metrics = relay_metrics((), relay.relay._admission, relay.log)
    assert [metric.name.removeprefix("blindrelay_relay_") for metric in metrics] == [
        "replicas",
        "replicas_up",
        "exchanges_running",
        "exchanges_total",
    ]
    assert {metric.label for metric in metrics} == {"", "outcome"}


async def test_what_callers_do_shows_once_a_minute_and_in_tens(
    bridge: FakeBridge, start_relay: StartRelay
) -> None:
    address = free_address()
    relay = await start_relay(bridge.config, metrics=address)
    quiet = {"replicas": 1, "replicas_up": 1, "exchanges_running": 0}
    calls = [relay.client.call(bridge.envelope()) for _ in range(12)]
    for call in calls:
        await call.write(b"x")
        await call.read()
    for _ in range(19):
        await relay.client.exchange(bridge.envelope())
    assert await scraped(address) == quiet
    relay.log.report()
    assert await scraped(address) == {**quiet, "exchanges_running": 10, 'exchanges_total{outcome="ok"}': 10}
    for call in calls:
        call.cancel()
