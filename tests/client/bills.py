"""What a client keeps, and what a relay states of it, for tests that compare them."""

from __future__ import annotations

import hashlib
from typing import Any

from blindrelay.client.account import AccountStatement
from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.client.commands.bill.comparison import Kept
from blindrelay.testbed.billing_bridge import NOW, BillingBridge
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.receipts_pb2 import Receipt

MONTH = "2027-01"
RELAY = "relay.example:443"
KEY = "0123abcd"


def kept_by(bridge: BillingBridge, *exchanges: KeptExchange) -> Kept:
    """A client's side."""
    by_hash = {hashlib.sha256(each.envelope).digest(): each for each in exchanges}
    return Kept(by_hash, {bridge.table_hash: bridge.table}, RELAY, KEY)


def exchange(
    envelope: bytes, *receipts: KeptReceipt, refusal: str = "", prices: bytes | None = None
) -> KeptExchange:
    """An exchange as the client keeps it, which accepted the first bridge's prices."""
    accepted = BillingBridge().table_hash if prices is None else prices
    return KeptExchange(envelope, RELAY, KEY, accepted, refusal, list(receipts))


def line(envelope: bytes, receipt: KeptReceipt | None, **changes: Any) -> StatementLine:
    """The relay's line for it, posted as the receipt says."""
    values: dict[str, Any] = {
        "envelope_hash": hashlib.sha256(envelope).digest(),
        "at": NOW // 60 * 60,
        "state": LineState.LINE_STATE_POSTED,
        "token": "laptop",
    }
    if receipt is not None and receipt.delegation is not None:
        values |= {
            "units": Receipt.FromString(receipt.signed.receipt).units,
            "receipt": receipt.signed,
            "delegation": receipt.delegation.delegation,
            "delegation_signature": receipt.delegation.signature,
        }
    return StatementLine(**(values | changes))


def account(*lines: StatementLine, charged: int | None = None) -> AccountStatement:
    """The relay's statement. By default its sum is that of its lines."""
    total = sum(each.units for each in lines)
    return AccountStatement(balance=1_000, charged=total if charged is None else charged, lines=list(lines))
