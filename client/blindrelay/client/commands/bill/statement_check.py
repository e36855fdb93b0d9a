"""Whether a bridge's statement leads to its receipt (spec/protocol.md, annex E)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptReceipt
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import PriceRow, PriceTable, Receipt, Statement
from blindrelay.v1.units import rounded_units


def statement_fault(kept: KeptReceipt, envelope: bytes, tables: Mapping[bytes, PriceTable]) -> str | None:
    """What is wrong with the statement, as a sentence; None if nothing is, or if there is no statement.

    `tables` are verified, by hash.
    """
    if not kept.statement:
        return None
    receipt, statement = parsed(Receipt, kept.signed.receipt), parsed(Statement, kept.statement)
    if receipt is None or statement is None:
        return "the receipt or the statement is not a protobuf message"
    if hashlib.sha256(kept.statement).digest() != receipt.statement_hash:
        return "the receipt is for another statement"
    table = tables.get(receipt.price_table_hash)
    if table is None:
        return "the relay has no price table of the hash in the receipt that the bridge signed"
    return _price_fault(statement, table) or _units_fault(kept, receipt, statement, envelope)


def _price_fault(statement: Statement, table: PriceTable) -> str | None:
    row = next((number for number, row in enumerate(table.rows) if _applies(row, statement)), None)
    if row != statement.row:
        return f"row {statement.row} of the price table does not apply to {statement.model}"
    rates = {rate.measure: rate.rate for rate in table.rows[row].rates}
    cost = sum(count.amount * rates.get(count.measure, 0) for count in statement.counts)
    if cost != statement.cost:
        return f"by the price table, the counts cost {cost:,} millionths of a unit, not {statement.cost:,}"
    return None


def _applies(row: PriceRow, statement: Statement) -> bool:
    if row.provider != statement.provider:
        return False
    if row.model.endswith("*"):
        return statement.model.startswith(row.model[:-1])
    return row.model == statement.model


def _units_fault(kept: KeptReceipt, receipt: Receipt, statement: Statement, envelope: bytes) -> str | None:
    max_units = Envelope.FromString(envelope).max_units
    try:
        units = rounded_units(statement.cost, statement.rounding, kept.coin, max_units)
    except ValueError as error:
        return f"the units cannot be computed: {error}"
    if units != receipt.units:
        return f"by the cost and this exchange's coin, it costs {units:,} units, not {receipt.units:,}"
    return None
