"""A bridge reduced to the bills that it signs, honestly or not."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from blindrelay.client.bill_journal import KeptReceipt
from blindrelay.trust import DirectorySigner, IdentityKey, sign_price_table, sign_receipt
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

NOW: Final = 1_800_000_000
COIN: Final = bytes(8)
"""The coin that rounds up, where there is something to round."""


class BillingBridge:
    """An identity and one replica, with a price table of two rows that charge two units for an output token.

    Args:
        seed: of its keys.
        now: Unix seconds, a multiple of 10: when its exchanges take place.
    """

    def __init__(self, seed: int = 1, now: int = NOW) -> None:
        self.now = now
        self.identity = IdentityKey(bytes([seed]) * 32)
        self.signer = DirectorySigner(bytes([seed + 1]) * 32)
        self.delegation = self.identity.delegate(self.signer.public_key, now - 86_400, now + 86_400)
        rates = [Rate(measure=Measure.MEASURE_OUTPUT, rate=2_000_000)]
        self.table = PriceTable(
            version=1,
            identity=self.identity.public_key,
            valid_from=now - 86_400,
            valid_to=now + 86_400,
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
            "issued_at": self.now,
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
            "ended_at": self.now,
            "statement_hash": hashlib.sha256(encoded).digest(),
        }
        signed = sign_receipt(Receipt(**(values | changes)), self.signer)
        return KeptReceipt(signed, self.delegation, encoded, COIN)
