"""An HTTP/1.0 server of one page, for Prometheus.

It needs the extra `metrics` (prometheus_client), for the text format. The library's own HTTP server is not
used: it bounds neither connections nor their time, looks up the host's name, and prints tracebacks to stderr.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from blindrelay.serving.address import Address
from blindrelay.serving.errors import ConfigError, StartError
from blindrelay.serving.metrics import Metric

MAX_REQUEST: Final = 8_192
"""Bytes of a request's head. Prometheus sends about 300."""

MAX_SCRAPES: Final = 8
"""Connections at once. Others are closed."""

SCRAPE_SECONDS: Final = 5.0
"""Seconds for one connection, from its beginning to its end."""

Encode = Callable[[], bytes]


@asynccontextmanager
async def metrics_server(address: Address, metrics: Sequence[Metric]) -> AsyncIterator[Address]:
    """Serves GET /metrics while the block runs, as exposed_metrics() describes."""
    exposition = _Exposition(*_encoder(metrics))
    try:
        server = await asyncio.start_server(
            exposition.serve, address.host, address.port, limit=MAX_REQUEST, backlog=MAX_SCRAPES
        )
    except OSError as error:
        raise StartError(f"cannot expose metrics on {address}: {error.strerror}") from None
    try:
        yield Address(address.host, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await exposition.close()


class _Exposition:
    """The connections of the server."""

    def __init__(self, encode: Encode, content_type: str) -> None:
        self._encode = encode
        self._content_type = content_type
        self._scrapes: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection. It ends in a bounded time, whatever the peer does."""
        task = asyncio.current_task()
        if task is None or len(self._scrapes) >= MAX_SCRAPES:
            writer.transport.abort()
            return
        self._scrapes.add(task)
        try:
            async with asyncio.timeout(SCRAPE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head.split(b"\r\n", 1)[0]))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # an incomplete or too large request gets no response
        except asyncio.CancelledError:
            pass  # from close(). asyncio's streams would log it as an error
        finally:
            writer.transport.abort()
            self._scrapes.discard(task)

    async def close(self) -> None:
        """Ends the scrapes that run."""
        scrapes = list(self._scrapes)
        for task in scrapes:
            task.cancel()
        await asyncio.gather(*scrapes, return_exceptions=True)

    def _response(self, request_line: bytes) -> bytes:
        if request_line.split(b" ")[:2] != [b"GET", b"/metrics"]:
            return b"HTTP/1.0 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        page = self._encode()
        head = f"HTTP/1.0 200 OK\r\ncontent-type: {self._content_type}\r\ncontent-length: {len(page)}\r\n\r\n"
        return head.encode("ascii") + page


def _encoder(metrics: Sequence[Metric]) -> tuple[Encode, str]:
    """A function that writes the page, and its content type. Raises ConfigError without prometheus_client."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
        from prometheus_client.exposition import CONTENT_TYPE_LATEST
        from prometheus_client.registry import Collector
    except ImportError:
        raise ConfigError(
            'metrics need the package prometheus_client: pip install "blindrelay[metrics]"'
        ) from None

    class Readings(Collector):
        def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
            for metric in metrics:
                kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
                family = kind(metric.name, metric.help, labels=[metric.label] if metric.label else [])
                for label, value in metric.values().items():
                    family.add_metric([label] if metric.label else [], value)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Readings())
    return lambda: generate_latest(registry), CONTENT_TYPE_LATEST
