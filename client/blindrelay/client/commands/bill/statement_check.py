"""Whether a kept receipt follows from its statement (spec/protocol.md, annex E.4)."""

from __future__ import annotations

from collections.abc import Mapping

from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptReceipt
from blindrelay.trust import BillError, check_bill, read_statement
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import PriceTable, Receipt


def statement_fault(kept: KeptReceipt, envelope: bytes, tables: Mapping[bytes, PriceTable]) -> str | None:
    """What is wrong with the statement, as a sentence; None if nothing is, or if it is not known.

    `tables` are verified, by hash.
    """
    receipt = parsed(Receipt, kept.signed.receipt)
    if receipt is None:
        return "the receipt is not a protobuf message"
    if not kept.statement and receipt.statement_hash:
        return None  # it came from the relay
    table = tables.get(receipt.price_table_hash)
    if table is None:
        return "the relay does not have the bridge's price table that the receipt names"
    try:
        statement = read_statement(kept.statement, receipt) if kept.statement else None
        check_bill(receipt, statement, table, Envelope.FromString(envelope).max_units, kept.coin or None)
    except BillError as error:
        return str(error)
    return None
