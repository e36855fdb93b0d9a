"""Whether a kept receipt follows from its statement (spec/protocol.md, annex E.4)."""

from __future__ import annotations

from collections.abc import Mapping

from blindrelay.client.bill import parsed
from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.trust import BillError, check_bill, read_statement
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import PriceTable, Receipt


def statement_fault(
    kept: KeptReceipt, exchange: KeptExchange, tables: Mapping[bytes, PriceTable]
) -> str | None:
    """Why the receipt does not follow from its statement and the accepted prices, as a sentence.

    None if it does, or if the statement is not known. `tables` are verified, by hash.
    """
    receipt = parsed(Receipt, kept.signed.receipt)
    if receipt is None:
        return "the receipt is not a protobuf message"
    if receipt.price_table_hash != exchange.price_table_hash:
        return "the bridge charged by another price table than the one that this client accepted"
    if not kept.statement and receipt.statement_hash:
        return None  # it came from the relay
    table = tables.get(receipt.price_table_hash)
    if table is None:
        return "the relay does not have the bridge's price table that the receipt names"
    try:
        statement = read_statement(kept.statement, receipt) if kept.statement else None
        max_units = Envelope.FromString(exchange.envelope).max_units
        check_bill(receipt, statement, table, max_units, kept.coin or None)
    except BillError as error:
        return str(error)
    return None
