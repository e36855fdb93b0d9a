"""How the core's errors are called in spec/vectors/README.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.sealing import KeyConfigError, OpenError, SuiteError, TruncatedError, ViolationError
from blindrelay.trust import (
    BadDelegationError,
    BadSignatureError,
    ForeignIdentityError,
    ForkedError,
    FutureDirectoryError,
    IdentityError,
    MalformedBillError,
    MalformedDirectoryError,
    RolledBackError,
    StaleDirectoryError,
    UnknownSuiteError,
    UnsignedBillError,
    WrongBillError,
)
from blindrelay.v1.envelope import EnvelopeError

Fields = dict[str, Any]

WORDS: Final[dict[type[Exception], str]] = {
    IdentityError: "mistyped",
    KeyConfigError: "malformed",
    SuiteError: "unknown_suite",
    EnvelopeError: "refused",
    UnclaimedError: "refused",
    OpenError: "open_failure",
    ViolationError: "violation",
    TruncatedError: "truncated",
    MalformedDirectoryError: "malformed",
    UnknownSuiteError: "unknown_suite",
    ForeignIdentityError: "foreign_identity",
    BadDelegationError: "bad_delegation",
    BadSignatureError: "bad_signature",
    StaleDirectoryError: "stale",
    FutureDirectoryError: "future",
    RolledBackError: "rolled_back",
    ForkedError: "forked",
    MalformedBillError: "malformed",
    UnsignedBillError: "unsigned",
    WrongBillError: "wrong",
}


def raw(asked: Fields, *names: str) -> Iterable[bytes]:
    return (bytes.fromhex(asked[name]) for name in names)


def refused(error: Exception) -> Fields:
    return {"outcome": WORDS[type(error)]}
