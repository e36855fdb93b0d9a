"""The relay's metrics are a closed list without users, and no scrape shows one exchange."""

from __future__ import annotations

import asyncio
import socket

from blindrelay.serving import Address
from tests.relay_node.conftest import StartRelay
from tests.relay_node.fake_bridge import FakeBridge


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
