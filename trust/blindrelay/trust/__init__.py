"""Whose key a client seals to: identities, key directories and key histories, sans-IO.

It implements sections 4 and 5 of spec/protocol.md. From the message path it uses only the form of a key.
"""

from blindrelay.trust.comparison import Comparison, Difference, compare
from blindrelay.trust.contradiction import decode_proof, encode_proof, verify_proof
from blindrelay.trust.directory import (
    VerifiedDirectory,
    VerifiedKey,
    read_directory,
    verify_directory,
)
from blindrelay.trust.directory_history import DirectoryHistory
from blindrelay.trust.errors import (
    BadDelegationError,
    BadSignatureError,
    DirectoryError,
    EarlySuccessorError,
    ForeignIdentityError,
    ForkedError,
    FutureDirectoryError,
    HistoryFormError,
    IdentityError,
    MalformedDirectoryError,
    RolledBackError,
    StaleDirectoryError,
    TrustError,
    UnknownSuiteError,
)
from blindrelay.trust.history_form import decode_history, encode_history
from blindrelay.trust.identity import (
    DirectorySigner,
    IdentityKey,
    SignedDelegation,
    format_identity,
    identity_groups,
    parse_identity,
    parse_typed_identity,
)
from blindrelay.trust.key_history import ANNOUNCED_SECONDS, Announcement, KeyHistory, identity_hash

__all__ = [
    "ANNOUNCED_SECONDS",
    "Announcement",
    "BadDelegationError",
    "BadSignatureError",
    "Comparison",
    "Difference",
    "DirectoryError",
    "DirectoryHistory",
    "DirectorySigner",
    "EarlySuccessorError",
    "ForeignIdentityError",
    "ForkedError",
    "FutureDirectoryError",
    "HistoryFormError",
    "IdentityError",
    "IdentityKey",
    "KeyHistory",
    "MalformedDirectoryError",
    "RolledBackError",
    "SignedDelegation",
    "StaleDirectoryError",
    "TrustError",
    "UnknownSuiteError",
    "VerifiedDirectory",
    "VerifiedKey",
    "compare",
    "decode_history",
    "decode_proof",
    "encode_history",
    "encode_proof",
    "format_identity",
    "identity_groups",
    "identity_hash",
    "parse_identity",
    "parse_typed_identity",
    "read_directory",
    "verify_directory",
    "verify_proof",
]
