"""Metrics of relay and bridge: a closed list, served to Prometheus on loopback if that is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from blindrelay.serving.address import Address
from blindrelay.serving.config import Table

COUNT_STEP: Final = 10
"""Exchanges are shown in whole tens, so a scrape tells only in which minute a tenth exchange ended."""


@dataclass(frozen=True)
class Metric:
    """A gauge, or a counter if its name ends in _total.

    Attributes:
        name: as Prometheus spells it.
        help: one sentence.
        read: returns its value, or None if it has none. With `label`, returns values by label.
        label: a label's name.
    """

    name: str
    help: str
    read: Callable[[], float | Mapping[str, float] | None]
    label: str = ""

    def values(self) -> dict[str, float]:
        """The values by label, or under "" if there is no label."""
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
            key, f"= {address} is open to other machines: metrics are served on 127.0.0.1 or ::1 only"
        )
    return address


@asynccontextmanager
async def exposed_metrics(
    address: Address | None, metrics: Sequence[Metric]
) -> AsyncIterator[Address | None]:
    """Serves GET /metrics on that address, if there is one, while the block runs. Yields the real address.

    Raises ConfigError if prometheus_client is not installed, and StartError if the port cannot be bound.
    """
    if address is None:
        yield None
        return
    from blindrelay.serving.metrics_server import metrics_server  # not needed without metrics

    async with metrics_server(address, metrics) as bound:
        yield bound
