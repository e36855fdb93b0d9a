"""The sans-IO core of BlindRelay: bytes in, bytes out, no sockets, clock or threads.

It implements sections 3 to 10 of spec/protocol.md. Client and bridge stand on it; the relay must not.
"""

from blindrelay.sealing.comparison import Comparison, Difference, compare
from blindrelay.sealing.contradiction import decode_proof, encode_proof, verify_proof
from blindrelay.sealing.directory import (
    VerifiedDirectory,
    VerifiedKey,
    read_directory,
    verify_directory,
)
from blindrelay.sealing.directory_history import DirectoryHistory
from blindrelay.sealing.encapsulation import BridgeExchange, ClientExchange, decapsulate, encapsulate
from blindrelay.sealing.errors import (
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
    OpenError,
    RolledBackError,
    SealingError,
    StaleDirectoryError,
    StateError,
    TruncatedError,
    UnknownSuiteError,
    ViolationError,
)
from blindrelay.sealing.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    TEXT,
    close_frame,
    close_reason,
    data_frames,
    is_close_code,
)
from blindrelay.sealing.history_form import decode_history, encode_history
from blindrelay.sealing.identity import (
    DirectorySigner,
    IdentityKey,
    SignedDelegation,
    format_identity,
    identity_groups,
    parse_identity,
    parse_typed_identity,
)
from blindrelay.sealing.key_history import ANNOUNCED_SECONDS, Announcement, KeyHistory, identity_hash
from blindrelay.sealing.keys import SealingKey
from blindrelay.sealing.messages import RequestOpener, RequestSealer, ResponseOpener, ResponseSealer
from blindrelay.sealing.part_order import TUNNEL_STATUS

__all__ = [
    "ANNOUNCED_SECONDS",
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "TEXT",
    "TUNNEL_STATUS",
    "Announcement",
    "BadDelegationError",
    "BadSignatureError",
    "BridgeExchange",
    "ClientExchange",
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
    "close_frame",
    "close_reason",
    "compare",
    "data_frames",
    "decapsulate",
    "decode_history",
    "decode_proof",
    "encapsulate",
    "encode_history",
    "encode_proof",
    "format_identity",
    "identity_groups",
    "identity_hash",
    "is_close_code",
    "parse_identity",
    "parse_typed_identity",
    "read_directory",
    "verify_directory",
    "verify_proof",
]
