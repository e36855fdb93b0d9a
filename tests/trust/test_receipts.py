"""Receipts that a bridge signs, and what makes one another exchange's or another bridge's."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from blindrelay.trust import (
    BillSigner,
    DirectorySigner,
    UnsignedBillError,
    WrongBillError,
    bill_signer,
    check_receipt,
    sign_receipt,
    sign_watermark,
    verify_receipt,
    verify_watermark,
)
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import BASIS_METERED, Receipt, Watermark

from .replicas import DAY, IDENTITY, NOW, STRANGER

SIGNER = DirectorySigner(b"\x01" * 32)
ENVELOPE = encode_envelope(
    Envelope(
        version=1,
        exchange_id=bytes(16),
        identity=IDENTITY.public_key,
        key_id=bytes(16),
        issued_at=NOW,
        max_units=1_000,
    )
)


def receipt(**changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "version": 1,
        "identity": IDENTITY.public_key,
        "envelope_hash": hashlib.sha256(ENVELOPE).digest(),
        "units": 1_000,
        "basis": BASIS_METERED,
        "price_table_hash": bytes(32),
        "replica_id": bytes(16),
        "ended_at": NOW,
    }
    return Receipt(**fields | changes)


def test_signed_receipt_verifies_with_and_without_its_delegation() -> None:
    delegation = IDENTITY.delegate(SIGNER.public_key, NOW - DAY, NOW + DAY)
    signed = sign_receipt(receipt(), SIGNER)
    for signer in (
        bill_signer(delegation, IDENTITY.public_key),
        BillSigner(IDENTITY.public_key, SIGNER.public_key),
    ):
        assert verify_receipt(signed, signer) == receipt()
    with pytest.raises(UnsignedBillError):
        verify_receipt(signed, BillSigner(IDENTITY.public_key, DirectorySigner(bytes(32)).public_key))


def test_client_that_knows_the_key_does_not_check_the_delegation_again() -> None:
    old = sign_receipt(receipt(ended_at=NOW - 10 * DAY), SIGNER)
    assert verify_receipt(old, BillSigner(IDENTITY.public_key, SIGNER.public_key))
    watermark = Watermark(version=1, identity=IDENTITY.public_key, replica_id=bytes(16))
    signed = sign_watermark(watermark, SIGNER)
    assert verify_watermark(signed, BillSigner(IDENTITY.public_key, SIGNER.public_key), NOW) == watermark


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"envelope_hash": bytes(32)}, "another exchange"),
        ({"identity": STRANGER.public_key}, "another bridge"),
        ({"units": 1_001}, "has 1001 units, and 1000 were allowed"),
    ],
)
def test_receipt_is_for_one_exchange(changes: dict[str, Any], reason: str) -> None:
    check_receipt(receipt(), ENVELOPE)
    with pytest.raises(WrongBillError, match=reason):
        check_receipt(receipt(**changes), ENVELOPE)
