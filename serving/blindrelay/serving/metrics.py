"""Metrics for Prometheus, on loopback: a closed list that the process reads off itself when it is asked.

Needs the extra `metrics` (prometheus_client) for the text format. Nothing is registered but what is given:
no collectors of the process, the platform or the interpreter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from blindrelay.serving.address import Address
from blindrelay.serving.config import Table
from blindrelay.serving.errors import ConfigError, StartError

MAX_REQUEST: Final = 8_192
"""Bytes of a scrape's head; Prometheus sends about 300."""

MAX_SCRAPES: Final = 8
"""Connections at once; others are closed."""

SCRAPE_SECONDS: Final = 5.0
"""For one scrape, from its connection to its end."""

COUNT_STEP: Final = 10
"""Exchanges are shown in whole tens: a scrape shows in which minute one was the tenth, and no more."""

Encode = Callable[[], bytes]


@dataclass(frozen=True)
class Metric:
    """A gauge, or a counter if its name ends in _total.

    Attributes:
        name: as Prometheus spells it.
        help: one sentence.
        read: its value now; None while it has none; with `label`, a value for each of the label's values.
        label: a label's name.
    """

    name: str
    help: str
    read: Callable[[], float | Mapping[str, float] | None]
    label: str = ""

    def values(self) -> dict[str, float]:
        """By the label's value; without a label, by the empty text."""
        value = self.read()
        if value is None:
            return {}
        return dict(value) if isinstance(value, Mapping) else {"": value}


def whole_steps(count: int, step: int = COUNT_STEP) -> int:
    """A count, rounded down to whole steps."""
    return count // step * step


def read_metrics_address(table: Table, key: str = "metrics") -> Address | None:
    """The address to expose metrics on, or None if the key is absent. Raises ConfigError off loopback."""
    if table.optional_text(key) is None:
        return None
    address = table.address(key)
    if not address.is_loopback:
        raise table.error(
            key, f"= {address} is open to other machines, and metrics are not: use 127.0.0.1, or ::1"
        )
    return address


@asynccontextmanager
async def exposed_metrics(
    address: Address | None, metrics: Sequence[Metric]
) -> AsyncIterator[Address | None]:
    """Answers GET /metrics on that address, or nowhere, while the block runs; yields where it listens.

    Raises ConfigError if prometheus_client is not installed, StartError if the port cannot be taken.
    """
    if address is None:
        yield None
        return
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
    """An HTTP/1.0 server of one page."""

    def __init__(self, encode: Encode, content_type: str) -> None:
        self._encode = encode
        self._content_type = content_type
        self._scrapes: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, whose end takes a bounded time whatever its peer does."""
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
            pass  # an incomplete or oversize scrape; nobody is owed a response
        except asyncio.CancelledError:
            pass  # by close(), and asyncio's streams would log it as an error
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
    """What writes the page, and its content type. Raises ConfigError without prometheus_client."""
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
