"""Whether a receipt follows from its statement and its price table (spec/protocol.md, annex E.4).

The bridge makes a bill with these rules, and the client checks it with the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from blindrelay.trust.errors import MalformedBillError, WrongBillError
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import (
    BASIS_NOT_STARTED,
    MEASURE_UNSPECIFIED,
    ROUNDING_EXACT,
    Count,
    Measure,
    PriceRow,
    PriceTable,
    Receipt,
    Statement,
)
from blindrelay.v1.units import ladder_neighbours, rounded_units

SALT_SIZE: Final = 32
"""Bytes: without them, a relay could guess the statement of a receipt and compare hashes."""

MAX_STATEMENT_SIZE: Final = 1_024
"""Bytes. Every measure, and a model's name of 256 bytes, take about 500."""

MAX_AMOUNT: Final = 1 << 40
"""The largest count of one measure in one exchange. With it, no cost overflows 64 bits at common rates."""


def find_row(table: PriceTable, provider: str, model: str) -> int | None:
    """The index of the first row for a provider's model, or None."""
    rows = enumerate(table.rows)
    return next((index for index, row in rows if row.provider == provider and _names(row, model)), None)


def exact_cost(row: PriceRow, counts: Iterable[Count]) -> int:
    """The sum of amount times rate, in millionths of a unit. What has no rate costs nothing."""
    rates = {rate.measure: rate.rate for rate in row.rates}
    return sum(count.amount * rates.get(count.measure, 0) for count in counts)


def read_statement(encoded: bytes, receipt: Receipt) -> Statement:
    """The statement that a verified receipt names. Raises BillError."""
    if hashlib.sha256(encoded).digest() != receipt.statement_hash:
        raise WrongBillError("the statement is not the one that the receipt names")
    if len(encoded) > MAX_STATEMENT_SIZE:
        raise MalformedBillError(f"a statement is larger than {MAX_STATEMENT_SIZE:,} bytes")
    try:
        statement = Statement.FromString(encoded)
    except DecodeError:
        raise MalformedBillError("a statement is not a protobuf message") from None
    if len(statement.salt) != SALT_SIZE:
        raise MalformedBillError(f"a statement's salt is not {SALT_SIZE} bytes")
    check_measures(count.measure for count in statement.counts)
    if any(count.amount > MAX_AMOUNT for count in statement.counts):
        raise MalformedBillError("a statement counts more than an exchange can have")
    return statement


def check_bill(
    receipt: Receipt, statement: Statement | None, table: PriceTable, max_units: int, coin: bytes | None
) -> None:
    """Raises WrongBillError unless the receipt's units follow from its statement and its price table.

    Args:
        receipt: verified, for this exchange.
        statement: as read_statement() gave it, or None if the receipt names none.
        table: the one that the receipt names.
        max_units: of the exchange's envelope.
        coin: of the exchange, 8 bytes; None if it is forgotten, and both neighbours on the ladder will do.
    """
    if statement is None:
        if receipt.statement_hash:
            raise WrongBillError("the receipt names a statement, and the bridge sent none")
        if receipt.units:
            raise WrongBillError("the receipt has units, and no statement says what for")
        return
    if receipt.basis == BASIS_NOT_STARTED:
        raise WrongBillError("a statement has counts for an exchange that was not started")
    _check_price(statement, table)
    allowed = _possible_units(statement, max_units, coin)
    if receipt.units not in allowed:
        text = " or ".join(map(str, sorted(allowed)))
        raise WrongBillError(f"the receipt has {receipt.units} units, and its statement comes to {text}")


def check_measures(measures: Iterable[Measure.ValueType]) -> None:
    """Raises MalformedBillError if a measure is given twice or is unknown."""
    seen = list(measures)
    if any(measure == MEASURE_UNSPECIFIED or measure not in Measure.values() for measure in seen):
        raise MalformedBillError("a measure is counted or priced that this version does not know")
    if len(set(seen)) != len(seen):
        raise MalformedBillError("a measure is counted or priced twice")


def _names(row: PriceRow, model: str) -> bool:
    if row.model.endswith("*"):
        return model.startswith(row.model[:-1])
    return model == row.model


def _check_price(statement: Statement, table: PriceTable) -> None:
    row = find_row(table, statement.provider, statement.model)
    if row is None or row != statement.row:
        raise WrongBillError(f"the price table has another row for {statement.provider}, {statement.model}")
    cost = exact_cost(table.rows[row], statement.counts)
    if cost != statement.cost:
        raise WrongBillError(f"the statement's cost is {statement.cost}, and its counts come to {cost}")


def _possible_units(statement: Statement, max_units: int, coin: bytes | None) -> set[int]:
    try:
        if coin is not None or statement.rounding == ROUNDING_EXACT:
            return {rounded_units(statement.cost, statement.rounding, coin or bytes(8), max_units)}
        rounded_units(statement.cost, statement.rounding, bytes(8), max_units)
    except ValueError as error:
        raise WrongBillError(str(error)) from None
    low, high = ladder_neighbours(statement.cost)
    exact = low * MILLIONTHS == statement.cost
    return {min(max_units, low)} if exact else {min(max_units, low), min(max_units, high)}
