"""The operator's prices.toml, and the table that clients see (spec/protocol.md, annex E.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.billing.usage_counts import Counts
from blindrelay.serving import ConfigError, Table, read_config
from blindrelay.trust import BillError, exact_cost, find_row, read_price_table
from blindrelay.v1.limits import VERSION
from blindrelay.v1.receipts_pb2 import (
    MEASURE_AUDIO_INPUT,
    MEASURE_AUDIO_OUTPUT,
    MEASURE_CACHE_READ,
    MEASURE_CACHE_WRITE,
    MEASURE_CACHE_WRITE_LONG,
    MEASURE_IMAGE_INPUT,
    MEASURE_IMAGE_OUTPUT,
    MEASURE_INPUT,
    MEASURE_OUTPUT,
    Count,
    Measure,
    PriceRow,
    PriceTable,
    Rate,
)

BROUGHT: Final = "@brought"
"""The model of a row for exchanges with the client's own credential."""

MAX_RATE: Final = 1_000_000_000_000
"""Units for a million."""

_NAME_SIZE: Final = 256
"""Bytes of a name in a statement."""

_MEASURES: Final = {
    name.removeprefix("MEASURE_").lower(): measure for name, measure in Measure.items() if measure
}

_PRICED_AS: Final = {
    MEASURE_CACHE_WRITE_LONG: MEASURE_CACHE_WRITE,
    MEASURE_CACHE_WRITE: MEASURE_INPUT,
    MEASURE_CACHE_READ: MEASURE_INPUT,
    MEASURE_AUDIO_INPUT: MEASURE_INPUT,
    MEASURE_IMAGE_INPUT: MEASURE_INPUT,
    MEASURE_AUDIO_OUTPUT: MEASURE_OUTPUT,
    MEASURE_IMAGE_OUTPUT: MEASURE_OUTPUT,
}
"""What a measure counts as if a row has no rate for it. In this order."""


@dataclass(frozen=True)
class Price:
    """One row, as it applies to a model.

    Attributes:
        model: by which the row was found.
        rates: units for a million, by measure.
    """

    provider: str
    model: str
    index: int
    row: PriceRow = field(repr=False)

    @property
    def rates(self) -> dict[Measure.ValueType, int]:
        return {rate.measure: rate.rate for rate in self.row.rates}

    def counted(self, counts: Counts) -> list[Count]:
        """The counts as the row prices them; what it has no rate for is left out."""
        rates, folded = self.rates, Counts(counts)
        for measure, general in _PRICED_AS.items():
            if measure not in rates and folded[measure]:
                folded[general] += folded.pop(measure)
        amounts = sorted(folded.items())
        return [Count(measure=measure, amount=n) for measure, n in amounts if n and measure in rates]

    def cost(self, counts: Iterable[Count]) -> int:
        """Millionths of a unit."""
        return exact_cost(self.row, counts)


@dataclass(frozen=True)
class PriceList:
    """A price table, with its exact bytes and their SHA-256."""

    table: PriceTable = field(repr=False)
    encoded: bytes = field(repr=False)
    hash: bytes

    @classmethod
    def of(cls, encoded: bytes) -> PriceList:
        """Reads exact PriceTable bytes. Raises BillError."""
        return cls(read_price_table(encoded), encoded, hashlib.sha256(encoded).digest())

    def find(self, provider: str, *models: str) -> Price | None:
        """The price of the first of these models that has one."""
        for model in models:
            # A provider's text, or a client's: it may be long, and JSON allows what UTF-8 does not.
            name = model.encode("utf-8", "replace")[:_NAME_SIZE].decode("utf-8", "ignore")
            index = find_row(self.table, provider, name)
            if index is not None:
                return Price(provider, name, index, self.table.rows[index])
        return None

    def is_valid(self, now: float) -> bool:
        return self.seconds_left(now) > 0

    def seconds_left(self, now: float) -> float:
        """How much longer it is valid; 0 if it is not valid at this time."""
        begun = self.table.valid_from <= now
        return max(0.0, self.table.valid_to + 1 - now) if begun else 0.0


def read_prices(path: Path, identity: bytes, providers: Iterable[str] | None = None) -> PriceList:
    """Reads prices.toml as the table of an identity (32 bytes).

    `providers` are the names that rows may have; None allows any. Raises ConfigError.
    """
    names = None if providers is None else frozenset(providers)
    table = read_config(path, partial(_table, names=names))
    table.identity = identity
    try:
        return PriceList.of(table.SerializeToString(deterministic=True))
    except BillError as error:
        raise ConfigError(f"{path}: {error}") from None


def _table(table: Table, names: frozenset[str] | None) -> PriceTable:
    rows = table.tables("price", partial(_row, names=names))
    return PriceTable(
        version=VERSION,
        valid_from=_date(table, "valid_from"),
        valid_to=_date(table, "valid_to") + _LAST_SECOND,
        unit=table.text("unit"),
        # A row that stands for any model must not price what the client pays for itself.
        rows=sorted(rows, key=lambda row: row.model != BROUGHT),
        charge_unanswered=table.flag("charge_unanswered", default=False),
    )


_LAST_SECOND: Final = int(timedelta(days=1).total_seconds()) - 1


def _date(table: Table, key: str) -> int:
    try:
        day = date.fromisoformat(table.text(key))
    except ValueError:
        raise table.error(key, 'must be a date such as "2030-12-31"') from None
    return int(datetime.combine(day, time(), UTC).timestamp())


def _row(table: Table, names: frozenset[str] | None) -> PriceRow:
    provider, model = table.text("provider"), table.text("model")
    if len(provider.encode()) > _NAME_SIZE:
        raise table.error("provider", f"is longer than {_NAME_SIZE} bytes")
    if names is not None and provider not in names:
        raise table.error("provider", f'is "{provider}", and the bridge has no provider of that name')
    rates = {
        measure: table.integer(name, default=-1, minimum=0, maximum=MAX_RATE)
        for name, measure in _MEASURES.items()
    }
    given = [Rate(measure=measure, rate=rate) for measure, rate in rates.items() if rate >= 0]
    if not given:
        raise table.error("model", f'= "{model}" has no rate: give one, such as input, output or call')
    return PriceRow(provider=provider, model=model, rates=given)
