"""Whether a replica's key speaks for an identity (spec/protocol.md, section 4.1)."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from nacl.exceptions import BadSignatureError as NaclBadSignatureError
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from blindrelay.trust.errors import (
    BadDelegationError,
    BadSignatureError,
    ForeignIdentityError,
    MalformedDirectoryError,
)
from blindrelay.trust.identity import SignedDelegation, format_identity
from blindrelay.v1 import labels
from blindrelay.v1.keys_pb2 import Delegation
from blindrelay.v1.limits import CLOCK_TOLERANCE, IDENTITY_SIZE


def verify_delegation(signed: SignedDelegation, identity: bytes) -> Delegation:
    """The delegation, if that identity (32 bytes) signed it. Its dates are not checked.

    Raises MalformedDirectoryError, ForeignIdentityError, BadDelegationError.
    """
    try:
        delegation = Delegation.FromString(signed.delegation)
    except DecodeError:
        raise MalformedDirectoryError("a delegation is not a protobuf message") from None
    if delegation.identity != identity:
        raise foreign(identity, delegation.identity)
    try:
        verify_signature(identity, labels.DELEGATION, signed.delegation, signed.signature)
    except BadSignatureError:
        raise BadDelegationError("the pinned identity did not sign the delegation of this replica") from None
    return delegation


def check_delegation_dates(delegation: Delegation, now: int) -> None:
    """Raises BadDelegationError unless the delegation is valid at `now` (Unix seconds)."""
    if now > delegation.not_after:
        raise BadDelegationError("the replica's delegation has expired, or this machine's clock is ahead")
    if now + CLOCK_TOLERANCE < delegation.not_before:
        raise BadDelegationError(
            "the replica's delegation is not valid yet, or this machine's clock is behind"
        )


def verify_signature(public_key: bytes, label: bytes, message: bytes, signature: bytes) -> None:
    """Raises BadSignatureError unless the key (Ed25519, 32 bytes) signed the message under the label."""
    try:
        VerifyKey(public_key).verify(labels.labelled(label, message), signature)
    except (NaclBadSignatureError, CryptoError, ValueError):
        raise BadSignatureError from None


def foreign(pinned: bytes, served: bytes) -> ForeignIdentityError:
    """The error for something of another identity than the pinned one."""
    text = format_identity(served) if len(served) == IDENTITY_SIZE else "none"
    return ForeignIdentityError(format_identity(pinned), text)
