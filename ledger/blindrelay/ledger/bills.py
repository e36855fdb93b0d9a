"""Verifies what a bridge sends about its bills, and converts it for the books."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from blindrelay.ledger.books import Receipt, SignedTable, Watermark
from blindrelay.trust import (
    BillError,
    BillSigner,
    DirectoryError,
    ForeignIdentityError,
    SignedDelegation,
    UnsignedBillError,
    bill_signer,
    verify_price_table,
    verify_receipt,
    verify_watermark,
)
from blindrelay.v1.receipts_pb2 import BASIS_NOT_STARTED, SignedPriceTable, SignedReceipt, SignedWatermark
from blindrelay.v1.settlement_pb2 import SettleResponse, SettleSigner

T = TypeVar("T")


@dataclass(frozen=True)
class PriceTable:
    """A verified price table, and the SHA-256 of its bytes."""

    hash: bytes
    signed: SignedTable


Bill = Receipt | Watermark | PriceTable


class BillReader:
    """Verifies the items of one stream in order. `clock` returns Unix seconds."""

    def __init__(self, identities: Iterable[bytes], clock: Callable[[], float]) -> None:
        self.rejected = 0
        """Items that did not verify."""
        self._identities = tuple(identities)
        self._clock = clock
        self._signer: BillSigner | None = None
        self._delegation = SignedDelegation(b"", b"")

    def read(self, responses: Iterable[SettleResponse]) -> list[Bill]:
        """The valid items. Raises DirectoryError if the signer may not speak for a configured identity."""
        bills: list[Bill] = []
        for response in responses:
            match response.WhichOneof("item"):
                case "signer":
                    self._use_signer(response.signer)
                case "receipt":
                    bills += self._valid(self._receipt, response.receipt, *response.more_receipts)
                case "watermark":
                    bills += self._valid(self._watermark, response.watermark)
                case "price_table":
                    bills += self._valid(self._price_table, response.price_table)
                case _:
                    self.rejected += 1  # an item that this version does not know
        return bills

    def _valid(self, verified: Callable[[T], Bill], *items: T) -> Iterator[Bill]:
        for item in items:
            try:
                yield verified(item)
            except (BillError, DirectoryError):
                self.rejected += 1

    def _use_signer(self, signer: SettleSigner) -> None:
        delegation = SignedDelegation(signer.delegation, signer.delegation_signature)
        self._delegation = delegation
        self._signer = self._of_own_identity(lambda identity: bill_signer(delegation, identity))

    def _of_own_identity(self, verified: Callable[[bytes], T]) -> T:
        """What is verified for one of the configured identities. Raises as `verified` does for the last."""
        *others, last = self._identities
        for identity in others:
            with suppress(ForeignIdentityError):
                return verified(identity)
        return verified(last)

    def _receipt(self, signed: SignedReceipt) -> Receipt:
        receipt = verify_receipt(signed, self._known_signer)
        return Receipt(
            identity=receipt.identity,
            envelope_hash=receipt.envelope_hash,
            units=receipt.units,
            started=receipt.basis != BASIS_NOT_STARTED,
            replica_id=receipt.replica_id,
            receipt=signed.receipt,
            signature=signed.signature,
            delegation=self._delegation.delegation,
            delegation_signature=self._delegation.signature,
        )

    def _watermark(self, signed: SignedWatermark) -> Watermark:
        watermark = verify_watermark(signed, self._known_signer, int(self._clock()))
        return Watermark(
            identity=watermark.identity,
            replica_id=watermark.replica_id,
            started_at=watermark.started_at,
            closed_before=watermark.closed_before,
            key_ids=tuple(watermark.key_ids),
            open=tuple(watermark.open),
            count=watermark.count,
            units=watermark.units,
            ended=watermark.ended,
        )

    def _price_table(self, signed: SignedPriceTable) -> PriceTable:
        """It has a delegation of its own, and may come before a signer."""
        self._of_own_identity(lambda identity: verify_price_table(signed, identity))
        table = SignedTable(signed.table, signed.signature, signed.delegation, signed.delegation_signature)
        return PriceTable(hashlib.sha256(signed.table).digest(), table)

    @property
    def _known_signer(self) -> BillSigner:
        if self._signer is None:
            raise UnsignedBillError("the bridge did not say who signs")
        return self._signer
