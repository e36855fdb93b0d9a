"""What the journal says about each exchange, and the sums per day, model and key."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptExchange
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import Basis, Measure, Receipt, Statement

UNKNOWN_MODEL: Final = "?"
"""For exchanges without a statement."""


@dataclass(frozen=True)
class Item:
    """One exchange that was not refused by the relay.

    Attributes:
        envelope_hash: 32 bytes.
        at: Unix seconds, in steps of 10.
        key: names the access token.
        units: what the receipt says; None without one.
        cost: the exact cost in millionths of a unit; without a statement, the receipt's units.
        basis: "metered", "estimated", "not_started"; "" without a receipt.
        provider, model: as the statement says.
        counts: amounts by measure, as the statement says.
    """

    envelope_hash: bytes
    at: int
    key: str
    units: int | None = None
    cost: int = 0
    basis: str = ""
    provider: str = ""
    model: str = UNKNOWN_MODEL
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """ "YYYY-MM-DD" in UTC, which the relay's months follow."""
        return time.strftime("%Y-%m-%d", time.gmtime(self.at))

    @property
    def time(self) -> str:
        """ "YYYY-MM-DDThh:mm:ssZ"."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.at))


@dataclass(frozen=True)
class Total:
    """Sums of exchanges.

    Attributes:
        exchanges: their number.
        units: charged, by receipts.
        cost: in millionths of a unit.
        estimated: how many the bridge had to estimate.
        without_receipt: how many have none yet: `blindrelay bill verify` fetches it from the relay.
    """

    exchanges: int
    units: int
    cost: int
    estimated: int
    without_receipt: int

    @classmethod
    def of(cls, items: Iterable[Item]) -> Total:
        """The sums."""
        listed = list(items)
        return cls(
            len(listed),
            sum(item.units or 0 for item in listed),
            sum(item.cost for item in listed),
            sum(item.basis == "estimated" for item in listed),
            sum(item.units is None for item in listed),
        )


def items_of(exchanges: Mapping[bytes, KeptExchange], month: str | None) -> list[Item]:
    """The exchanges that the relay did not refuse, of a month ("YYYY-MM") or of all time, oldest first."""
    items = [_item(name, kept) for name, kept in exchanges.items() if not kept.refusal or kept.receipts]
    return sorted((each for each in items if each.day.startswith(month or "")), key=lambda item: item.at)


def per_day(items: Iterable[Item]) -> dict[tuple[str, str, str], Total]:
    """The sums by day, model and key, in that order."""
    groups: dict[tuple[str, str, str], list[Item]] = {}
    for item in items:
        groups.setdefault((item.day, item.model, item.key), []).append(item)
    return {names: Total.of(groups[names]) for names in sorted(groups)}


def exact_units(cost: int) -> Decimal:
    """A cost in units, exactly."""
    return Decimal(cost) / MILLIONTHS


def _item(envelope_hash: bytes, kept: KeptExchange) -> Item:
    at = Envelope.FromString(kept.envelope).issued_at
    first = kept.receipts[0] if kept.receipts else None
    receipt = None if first is None else parsed(Receipt, first.signed.receipt)
    if first is None or receipt is None:
        return Item(envelope_hash, at, kept.key)
    basis = Basis.Name(receipt.basis).removeprefix("BASIS_").lower()
    statement = parsed(Statement, first.statement) if first.statement else None
    if statement is None:
        return Item(envelope_hash, at, kept.key, receipt.units, receipt.units * MILLIONTHS, basis)
    return Item(
        envelope_hash,
        at,
        kept.key,
        receipt.units,
        statement.cost,
        basis,
        statement.provider,
        statement.model or UNKNOWN_MODEL,
        {_measure(each.measure): each.amount for each in statement.counts},
    )


def _measure(measure: Measure.ValueType) -> str:
    known = measure in Measure.values()
    return Measure.Name(measure).removeprefix("MEASURE_").lower() if known else f"measure_{measure}"
