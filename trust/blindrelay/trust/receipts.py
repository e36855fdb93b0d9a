"""Receipts, watermarks and price tables, signed and verified (spec/protocol.md, annex E.2).

A relay passes them on, and client and ledger check them: every signature leads back to the identity.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError

from blindrelay.trust.delegation import check_delegation_dates, verify_delegation, verify_signature
from blindrelay.trust.errors import (
    BadDelegationError,
    BadSignatureError,
    MalformedBillError,
    UnsignedBillError,
    WrongBillError,
)
from blindrelay.trust.identity import DirectorySigner, SignedDelegation
from blindrelay.trust.statements import check_measures
from blindrelay.v1 import labels
from blindrelay.v1.envelope import parse_envelope
from blindrelay.v1.keys_pb2 import Delegation
from blindrelay.v1.limits import (
    CLOCK_TOLERANCE,
    DEADLINE_SECONDS,
    HASH_SIZE,
    KEY_ID_SIZE,
    MAX_PRICE_TABLE_SIZE,
    MAX_WATERMARK_KEYS,
    REPLICA_ID_SIZE,
    TIME_STEP,
    VERSION,
)
from blindrelay.v1.receipts_pb2 import (
    BASIS_NOT_STARTED,
    BASIS_UNSPECIFIED,
    Basis,
    PriceTable,
    Receipt,
    SignedPriceTable,
    SignedReceipt,
    SignedWatermark,
    Watermark,
)

_GRACE: Final = max(DEADLINE_SECONDS) + CLOCK_TOLERANCE
"""Seconds after the delegation: an exchange that it allowed may last that long, and then has its receipt."""

_BASES: Final = frozenset(Basis.values()) - {BASIS_UNSPECIFIED}

BillT = TypeVar("BillT", Receipt, Watermark, PriceTable)


@dataclass(frozen=True)
class BillSigner:
    """A key (32 bytes) that may sign bills for an identity (32 bytes).

    Attributes:
        delegation: whose dates hold; None for the key of a directory that the client has verified itself.
    """

    identity: bytes
    signing_key: bytes
    delegation: Delegation | None = None


def bill_signer(delegation: SignedDelegation, identity: bytes) -> BillSigner:
    """The replica's key to which that identity (32 bytes) delegates. Raises DirectoryError."""
    verified = verify_delegation(delegation, identity)
    return BillSigner(identity, verified.signing_key, verified)


def sign_receipt(receipt: Receipt, signer: DirectorySigner) -> SignedReceipt:
    """The receipt's exact bytes, signed."""
    encoded = receipt.SerializeToString(deterministic=True)
    return SignedReceipt(receipt=encoded, signature=signer.signature(labels.RECEIPT, encoded))


def sign_watermark(watermark: Watermark, signer: DirectorySigner) -> SignedWatermark:
    """The watermark's exact bytes, signed."""
    encoded = watermark.SerializeToString(deterministic=True)
    return SignedWatermark(watermark=encoded, signature=signer.signature(labels.WATERMARK, encoded))


def sign_price_table(table: bytes, signer: DirectorySigner, delegation: SignedDelegation) -> SignedPriceTable:
    """Exact PriceTable bytes, signed, with the delegation that allows it."""
    return SignedPriceTable(
        table=table,
        signature=signer.signature(labels.PRICE_TABLE, table),
        delegation=delegation.delegation,
        delegation_signature=delegation.signature,
    )


def verify_receipt(signed: SignedReceipt, signer: BillSigner) -> Receipt:
    """The receipt, if the signer signed it and its delegation allowed that. Raises BillError."""
    _check_signature(signer.signing_key, labels.RECEIPT, signed.receipt, signed.signature)
    receipt = _parse(Receipt, signed.receipt, signer.identity)
    _check_receipt(receipt)
    _check_grace(signer.delegation, receipt.ended_at)
    return receipt


def verify_watermark(signed: SignedWatermark, signer: BillSigner, now: int) -> Watermark:
    """The watermark, if the signer signed it and may sign at `now` (Unix seconds). Raises BillError."""
    _check_signature(signer.signing_key, labels.WATERMARK, signed.watermark, signed.signature)
    watermark = _parse(Watermark, signed.watermark, signer.identity)
    _check_watermark(watermark)
    if signer.delegation is not None:
        _check_dates(signer.delegation, now)
    return watermark


def verify_price_table(signed: SignedPriceTable, identity: bytes) -> PriceTable:
    """The table, if a key that the identity (32 bytes) delegated to while it was valid signed it.

    Raises BillError, or DirectoryError for the delegation.
    """
    delegation = verify_delegation(SignedDelegation(signed.delegation, signed.delegation_signature), identity)
    _check_signature(delegation.signing_key, labels.PRICE_TABLE, signed.table, signed.signature)
    table = read_price_table(signed.table)
    _check_identity(table.identity, identity)
    if delegation.not_after < table.valid_from or table.valid_to < delegation.not_before:
        raise UnsignedBillError("the delegation does not overlap the time for which the price table is valid")
    return table


def read_price_table(encoded: bytes) -> PriceTable:
    """Reads exact PriceTable bytes, of any identity. Raises MalformedBillError."""
    if len(encoded) > MAX_PRICE_TABLE_SIZE:
        raise MalformedBillError(f"a price table is larger than {MAX_PRICE_TABLE_SIZE:,} bytes")
    table = _decoded(PriceTable, encoded)
    _check_sizes(("identity", table.identity, HASH_SIZE))
    if not 0 < table.valid_from <= table.valid_to:
        raise MalformedBillError("a price table is valid for no time")
    if not table.unit:
        raise MalformedBillError("a price table does not say what a unit is worth")
    for row in table.rows:
        if not row.provider or not row.model or "*" in row.model[:-1]:
            raise MalformedBillError('a price has no provider, no model, or a "*" before the model\'s end')
        check_measures(rate.measure for rate in row.rates)
    return table


def check_receipt(receipt: Receipt, envelope: bytes) -> None:
    """Raises WrongBillError unless the receipt is for the exchange with these exact Envelope bytes.

    Raises EnvelopeError if those are not valid.
    """
    parsed = parse_envelope(envelope)
    if receipt.envelope_hash != hashlib.sha256(envelope).digest():
        raise WrongBillError("the receipt is for another exchange")
    _check_identity(receipt.identity, parsed.identity)
    if receipt.units > parsed.max_units:
        raise WrongBillError(f"the receipt has {receipt.units} units, and {parsed.max_units} were allowed")


def _check_receipt(receipt: Receipt) -> None:
    _check_sizes(
        ("envelope_hash", receipt.envelope_hash, HASH_SIZE),
        ("price_table_hash", receipt.price_table_hash, HASH_SIZE),
        ("replica_id", receipt.replica_id, REPLICA_ID_SIZE),
    )
    if receipt.statement_hash:
        _check_sizes(("statement_hash", receipt.statement_hash, HASH_SIZE))
    if receipt.basis not in _BASES:
        raise MalformedBillError("a receipt does not say the basis of its units")
    if receipt.basis == BASIS_NOT_STARTED and receipt.units:
        raise MalformedBillError("a receipt has units for an exchange that was not started")
    if receipt.units >= 1 << 63:
        raise MalformedBillError("a receipt's units are not below 2^63")
    if receipt.ended_at == 0 or receipt.ended_at % TIME_STEP:
        raise MalformedBillError(f"a receipt's ended_at is not a multiple of {TIME_STEP} seconds")


def _check_watermark(watermark: Watermark) -> None:
    if len(watermark.key_ids) > MAX_WATERMARK_KEYS:
        raise MalformedBillError(f"a watermark has more than {MAX_WATERMARK_KEYS} keys")
    _check_sizes(
        ("replica_id", watermark.replica_id, REPLICA_ID_SIZE),
        *(("key_ids", key_id, KEY_ID_SIZE) for key_id in watermark.key_ids),
        *(("open", envelope_hash, HASH_SIZE) for envelope_hash in watermark.open),
    )
    if watermark.ended and watermark.open:
        raise MalformedBillError("a replica that has ended has open exchanges")


def _check_sizes(*fields: tuple[str, bytes, int]) -> None:
    for name, value, size in fields:
        if len(value) != size:
            raise MalformedBillError(f"{name} is not {size} bytes")


def _check_identity(found: bytes, identity: bytes) -> None:
    if found != identity:
        raise WrongBillError("the bill is another bridge's")


def _check_grace(delegation: Delegation | None, ended_at: int) -> None:
    if delegation is not None:
        _check_dates(delegation, min(ended_at, max(ended_at - _GRACE, delegation.not_before)))


def _check_dates(delegation: Delegation, when: int) -> None:
    try:
        check_delegation_dates(delegation, when)
    except BadDelegationError as error:
        raise UnsignedBillError(str(error)) from None


def _check_signature(signing_key: bytes, label: bytes, message: bytes, signature: bytes) -> None:
    try:
        verify_signature(signing_key, label, message, signature)
    except BadSignatureError:
        raise UnsignedBillError("the signature does not verify") from None


def _parse(message_type: type[BillT], encoded: bytes, identity: bytes) -> BillT:
    message = _decoded(message_type, encoded)
    _check_identity(message.identity, identity)
    return message


def _decoded(message_type: type[BillT], encoded: bytes) -> BillT:
    try:
        message = message_type.FromString(encoded)
    except DecodeError:
        raise MalformedBillError("a bill is not a protobuf message") from None
    if message.version != VERSION:
        raise MalformedBillError(f"a bill has version {message.version}; this version knows only {VERSION}")
    return message
