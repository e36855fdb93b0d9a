"""Whose key a client seals to, and whose bill it pays: identities, directories, histories, receipts, sans-IO.

It implements sections 4 and 5 of spec/protocol.md, and annex E.2. From the message path it uses only the form
of a key.
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
    BillError,
    DirectoryError,
    EarlySuccessorError,
    ForeignIdentityError,
    ForkedError,
    FutureDirectoryError,
    HistoryFormError,
    IdentityError,
    MalformedBillError,
    MalformedDirectoryError,
    RolledBackError,
    StaleDirectoryError,
    TrustError,
    UnknownSuiteError,
    UnsignedBillError,
    WrongBillError,
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
from blindrelay.trust.receipts import (
    BillSigner,
    bill_signer,
    check_receipt,
    read_price_table,
    sign_price_table,
    sign_receipt,
    sign_watermark,
    verify_price_table,
    verify_receipt,
    verify_watermark,
)
from blindrelay.trust.statements import check_bill, exact_cost, find_row, read_statement

__all__ = [
    "ANNOUNCED_SECONDS",
    "Announcement",
    "BadDelegationError",
    "BadSignatureError",
    "BillError",
    "BillSigner",
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
    "MalformedBillError",
    "MalformedDirectoryError",
    "RolledBackError",
    "SignedDelegation",
    "StaleDirectoryError",
    "TrustError",
    "UnknownSuiteError",
    "UnsignedBillError",
    "VerifiedDirectory",
    "VerifiedKey",
    "WrongBillError",
    "bill_signer",
    "check_bill",
    "check_receipt",
    "compare",
    "decode_history",
    "decode_proof",
    "encode_history",
    "encode_proof",
    "exact_cost",
    "find_row",
    "format_identity",
    "identity_groups",
    "identity_hash",
    "parse_identity",
    "parse_typed_identity",
    "read_directory",
    "read_price_table",
    "read_statement",
    "sign_price_table",
    "sign_receipt",
    "sign_watermark",
    "verify_directory",
    "verify_price_table",
    "verify_proof",
    "verify_receipt",
    "verify_watermark",
]
