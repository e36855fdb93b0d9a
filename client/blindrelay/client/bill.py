"""What one exchange cost, as the bridge sealed it (spec/protocol.md, annex E)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from blindrelay.client.bill_journal import BillJournal, KeptReceipt
from blindrelay.trust import SignedDelegation
from blindrelay.v1.inner_pb2 import ExchangeError, ResponseTail
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import Receipt, Statement

MessageT = TypeVar("MessageT", bound=Message)

EXTENSION: Final = "blindrelay"
"""The name of the response extension with the Bill."""


class Bill:
    """The bill of one exchange. The receipt and the statement come with the end of the response.

    They were sealed by the bridge. `blindrelay bill verify` checks their signatures and sums.

    Attributes:
        envelope: exact Envelope bytes.
        price_table_hash: of the price table that the client accepted, 32 bytes; empty if the bridge has none.
        receipt: what was charged, in units; None before the end, and from a bridge that keeps no bills.
        statement: how the bridge counted it; None as for the receipt.
    """

    def __init__(
        self,
        envelope: bytes,
        price_table_hash: bytes = b"",
        journal: BillJournal | None = None,
        delegation: SignedDelegation | None = None,
        coin: Callable[[], bytes] = bytes,
    ) -> None:
        """`journal` keeps the bill, and its proofs: the replica's delegation and the exchange's
        rounding coin (8 bytes), which `coin` gives once the response has begun.
        """
        self.envelope = envelope
        self.price_table_hash = price_table_hash
        self.receipt: Receipt | None = None
        self.statement: Statement | None = None
        self._journal = journal
        self._delegation = delegation
        self._coin = coin

    @property
    def envelope_hash(self) -> bytes:
        """SHA-256 of the envelope, 32 bytes: it names the exchange in receipts and statements."""
        return hashlib.sha256(self.envelope).digest()

    @property
    def units(self) -> int | None:
        """What was charged; None as for the receipt."""
        return None if self.receipt is None else self.receipt.units

    def begin(self) -> None:
        """Notes that the exchange is about to be sent."""
        if self._journal is not None:
            self._journal.began(self.envelope, self.price_table_hash)

    def refuse(self, status: OuterStatus | None) -> None:
        """Notes the outer status that came in place of a response; None for a lost relay."""
        if self._journal is not None and status is not None:
            self._journal.refused(self.envelope_hash, status.details)

    def take(self, end: ResponseTail | ExchangeError) -> None:
        """Takes receipt and statement from the end of the response."""
        if not end.HasField("receipt"):
            return
        if self._journal is not None:
            coin = self._coin() if end.statement else b""
            kept = KeptReceipt(end.receipt, self._delegation, end.statement, coin)
            self._journal.ended(self.envelope_hash, kept)
        self.receipt = parsed(Receipt, end.receipt.receipt)
        self.statement = parsed(Statement, end.statement) if end.statement else None

    def __repr__(self) -> str:
        return f"<Bill of {self.envelope_hash.hex()[:8]}: {self.units} units>"


def parsed(kind: type[MessageT], encoded: bytes) -> MessageT | None:
    """The message, or None if the bytes are not one."""
    try:
        return kind.FromString(encoded)
    except DecodeError:
        return None
