"""The sans-IO core of BlindRelay: bytes in, bytes out, no sockets, clock or threads.

It implements sections 3 to 10 of spec/protocol.md. Client and bridge stand on it; the relay must not.
"""

from blindrelay.sealing.directory import DirectoryHistory, VerifiedDirectory, VerifiedKey, verify_directory
from blindrelay.sealing.encapsulation import BridgeExchange, ClientExchange, decapsulate, encapsulate
from blindrelay.sealing.errors import (
    BadDelegationError,
    BadSignatureError,
    DirectoryError,
    ForeignIdentityError,
    ForkedError,
    FutureDirectoryError,
    IdentityError,
    MalformedDirectoryError,
    OpenError,
    RolledBackError,
    SealingError,
    StaleDirectoryError,
    StateError,
    TruncatedError,
    UnknownSuiteError,
    ViolationError,
)
from blindrelay.sealing.identity import (
    DirectorySigner,
    IdentityKey,
    SignedDelegation,
    format_identity,
    parse_identity,
)
from blindrelay.sealing.keys import SealingKey
from blindrelay.sealing.messages import RequestOpener, RequestSealer, ResponseOpener, ResponseSealer

__all__ = [
    "BadDelegationError",
    "BadSignatureError",
    "BridgeExchange",
    "ClientExchange",
    "DirectoryError",
    "DirectoryHistory",
    "DirectorySigner",
    "ForeignIdentityError",
    "ForkedError",
    "FutureDirectoryError",
    "IdentityError",
    "IdentityKey",
    "MalformedDirectoryError",
    "OpenError",
    "RequestOpener",
    "RequestSealer",
    "ResponseOpener",
    "ResponseSealer",
    "RolledBackError",
    "SealingError",
    "SealingKey",
    "SignedDelegation",
    "StaleDirectoryError",
    "StateError",
    "TruncatedError",
    "UnknownSuiteError",
    "VerifiedDirectory",
    "VerifiedKey",
    "ViolationError",
    "decapsulate",
    "encapsulate",
    "format_identity",
    "parse_identity",
    "verify_directory",
]
