"""Bills that a bridge signs, honestly or not, for tests that keep and compare them."""

from __future__ import annotations

import hashlib
from typing import Any

from blindrelay.client.account import AccountStatement
from blindrelay.client.bill_journal import KeptExchange, KeptReceipt
from blindrelay.client.commands.bill.comparison import Kept
from blindrelay.trust import DirectorySigner, IdentityKey, sign_price_table, sign_receipt
from blindrelay.v1.accounts_pb2 import LineState, StatementLine
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import (
    Basis,
    Count,
    Measure,
    PriceRow,
    PriceTable,
    Rate,
    Receipt,
    ReportedBy,
    Rounding,
    SignedPriceTable,
    Statement,
)

NOW = 1_800_000_000
MONTH = "2027-01"
RELAY = "relay.example:443"
KEY = "0123abcd"
COIN = bytes(8)
"""The coin that always rounds up, where there is something to round."""


class BillingBridge:
    """An identity and one replica, with a price table of one row for each of two models."""

    def __init__(self, seed: int = 1) -> None:
        self.identity = IdentityKey(bytes([seed]) * 32)
        self.signer = DirectorySigner(bytes([seed + 1]) * 32)
        self.delegation = self.identity.delegate(self.signer.public_key, NOW - 86_400, NOW + 86_400)
        rates = [Rate(measure=Measure.MEASURE_OUTPUT, rate=2_000_000)]
        self.table = PriceTable(
            version=1,
            identity=self.identity.public_key,
            valid_from=NOW - 86_400,
            valid_to=NOW + 86_400,
            unit="10 µUSD",
            rows=[
                PriceRow(provider="openai", model="gpt-5.5", rates=rates),
                PriceRow(provider="openai", model="gpt-*", rates=rates),
            ],
        )

    @property
    def signed_table(self) -> SignedPriceTable:
        encoded = self.table.SerializeToString(deterministic=True)
        return sign_price_table(encoded, self.signer, self.delegation)

    @property
    def table_hash(self) -> bytes:
        return hashlib.sha256(self.signed_table.table).digest()

    def envelope(self, number: int = 1, **changes: Any) -> bytes:
        """Exact bytes of the envelope of an exchange."""
        values: dict[str, Any] = {
            "version": 1,
            "exchange_id": number.to_bytes(16, "big"),
            "identity": self.identity.public_key,
            "key_id": bytes(16),
            "issued_at": NOW,
            "max_units": 1_000_000,
        }
        return encode_envelope(Envelope(**(values | changes)))

    def statement(self, output: int = 10, **changes: Any) -> Statement:
        """Two units for each token."""
        values: dict[str, Any] = {
            "salt": bytes(32),
            "provider": "openai",
            "model": "gpt-5.5",
            "counts": [Count(measure=Measure.MEASURE_OUTPUT, amount=output)],
            "reported_by": ReportedBy.REPORTED_BY_PROVIDER,
            "cost": output * 2_000_000,
            "row": 0,
            "rounding": Rounding.ROUNDING_LADDER,
        }
        return Statement(**(values | changes))

    def receipt(self, envelope: bytes, statement: Statement | None = None, **changes: Any) -> KeptReceipt:
        """A receipt of 20 units, with its statement."""
        statement = statement or self.statement()
        encoded = statement.SerializeToString(deterministic=True)
        values: dict[str, Any] = {
            "version": 1,
            "identity": self.identity.public_key,
            "envelope_hash": hashlib.sha256(envelope).digest(),
            "units": 20,
            "basis": Basis.BASIS_METERED,
            "price_table_hash": self.table_hash,
            "replica_id": bytes(16),
            "ended_at": NOW,
            "statement_hash": hashlib.sha256(encoded).digest(),
        }
        signed = sign_receipt(Receipt(**(values | changes)), self.signer)
        return KeptReceipt(signed, self.delegation, encoded, COIN)

    def kept(self, *exchanges: KeptExchange) -> Kept:
        """A client's side."""
        by_hash = {hashlib.sha256(each.envelope).digest(): each for each in exchanges}
        return Kept(by_hash, {self.table_hash: self.table}, RELAY, KEY)


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
