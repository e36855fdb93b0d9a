"""Metrics are a closed list on loopback. Nobody can block their server."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from blindrelay.serving import Address, ConfigError, StartError, read_config
from blindrelay.serving.metrics import Metric, exposed_metrics, read_metrics_address
from blindrelay.serving.metrics_server import MAX_SCRAPES

ANYWHERE = Address("127.0.0.1", 0)
METRICS = (
    Metric("room_temperature", "Degrees.", lambda: 20.5),
    Metric("nothing_yet", "Absent.", lambda: None),
    Metric("visits_total", "Visits.", lambda: {"friend": 2, "stranger": 1}, label="by"),
)
PAGE = """# HELP room_temperature Degrees.
# TYPE room_temperature gauge
room_temperature 20.5
# HELP nothing_yet Absent.
# TYPE nothing_yet gauge
# HELP visits_total Visits.
# TYPE visits_total counter
visits_total{by="friend"} 2.0
visits_total{by="stranger"} 1.0
"""


async def ask(address: Address | None, request: bytes = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n") -> bytes:
    """Everything that the server sends."""
    assert address is not None
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_only_the_given_metrics_are_exposed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exposed_metrics(ANYWHERE, METRICS) as address:
        assert await ask(address, b"GET /metrics HTTP/1.1\r\nx: " + b"y" * 100_000) == b"", "too long"
        head, _, page = (await ask(address)).partition(b"\r\n\r\n")
        for other in (b"GET / HTTP/1.1", b"POST /metrics HTTP/1.1", b"nonsense"):
            assert (await ask(address, other + b"\r\n\r\n")).startswith(b"HTTP/1.0 404")
        monkeypatch.setattr("blindrelay.serving.metrics_server.SCRAPE_SECONDS", 0.05)
        async with asyncio.timeout(10):
            assert await ask(address, b"GET /metrics") == b"", "silent"
    assert page.decode() == PAGE
    assert head.startswith(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain")


async def test_silent_connections_are_bounded_and_end_with_the_server() -> None:
    async with exposed_metrics(ANYWHERE, METRICS) as address:
        assert address is not None
        silent = [await asyncio.open_connection(address.host, address.port) for _ in range(MAX_SCRAPES)]
        assert await ask(address) == b"", "one too many is closed"
        silent[0][1].close()
        await silent[0][1].wait_closed()
        async with asyncio.timeout(10):
            while not await ask(address):
                pass
    async with asyncio.timeout(10):
        for reader, writer in silent[1:]:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_taken_port_is_an_error() -> None:
    async with exposed_metrics(ANYWHERE, METRICS) as address:
        with pytest.raises(StartError, match="cannot expose metrics on 127"):
            async with exposed_metrics(address, METRICS):
                pass


async def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r'pip install "blindrelay\[metrics\]"'):
        async with exposed_metrics(ANYWHERE, METRICS):
            pass


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "metrics.example:9464"])
def test_address_off_loopback_is_rejected(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text('metrics = "[::1]:1"')
    assert read_config(file, read_metrics_address) == Address("::1", 1)
    file.write_text(f'metrics = "{text}"')
    with pytest.raises(ConfigError, match="open to other machines"):
        read_config(file, read_metrics_address)
