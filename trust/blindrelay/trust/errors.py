"""Errors of identities, key directories and key histories.

::

    TrustError
    ├── IdentityError        an identity string is mistyped
    ├── HistoryFormError     a file is not a valid key history or proof
    ├── BillError            a receipt or what belongs to it cannot be trusted
    │   ├── MalformedBillError
    │   ├── UnsignedBillError
    │   └── WrongBillError
    └── DirectoryError       a key directory cannot be trusted
        ├── MalformedDirectoryError
        ├── ForeignIdentityError
        ├── EarlySuccessorError
        ├── BadDelegationError
        ├── BadSignatureError
        ├── UnknownSuiteError
        ├── StaleDirectoryError
        ├── FutureDirectoryError
        ├── RolledBackError
        └── ForkedError
"""

from __future__ import annotations

from blindrelay.v1.picklable_error import PicklableError


class TrustError(PicklableError):
    """The root of this package's errors."""


class IdentityError(TrustError):
    """The text is not an identity: it is mistyped, cut or something else."""


class HistoryFormError(TrustError):
    """The text is not a valid key history or proof."""


class BillError(TrustError):
    """A receipt, statement, watermark or price table cannot be trusted."""


class MalformedBillError(BillError):
    """It does not have the form that the protocol requires."""


class UnsignedBillError(BillError):
    """Its signature does not verify, or the signer could not speak for the bridge then."""


class WrongBillError(BillError):
    """It belongs to another bridge, exchange, statement or price table, or does not follow from it."""


class DirectoryError(TrustError):
    """A key directory cannot be trusted."""


class MalformedDirectoryError(DirectoryError):
    """The directory does not have the form that the protocol requires."""


class ForeignIdentityError(DirectoryError):
    """The directory belongs to an identity that the pinned bridge has not announced."""

    def __init__(self, pinned: str, served: str) -> None:
        super().__init__(
            f"the key directory is another bridge's, not the pinned one's: pinned is {pinned}, served is "
            f"{served}, which was not announced. Ask the bridge's operator (not the relay's) which is right; "
            f"only if it is the new one, pin it with bridge={served}"
        )


class EarlySuccessorError(DirectoryError):
    """The identity is an announced successor, but was not announced for long enough."""

    def __init__(self, pinned: str, served: str, stood: int, needed: int) -> None:
        super().__init__(
            f"the bridge's identity changes too early: pinned is {pinned}, served is {served}, whose "
            f"announcement this client has seen for {stood:,} of {needed:,} seconds. Wait, or ask the "
            f"bridge's operator (not the relay's); only if the new one is right, pin it with bridge={served}"
        )


class BadDelegationError(DirectoryError):
    """The pinned identity does not let this replica speak for it, or not now."""


class BadSignatureError(DirectoryError):
    """The signature of the directory is not valid."""

    def __init__(self) -> None:
        super().__init__("the key directory's signature does not verify")


class UnknownSuiteError(DirectoryError):
    """A key's suite is not known to this version."""


class StaleDirectoryError(DirectoryError):
    """The directory is too old: an old one was served, or this machine's clock is ahead."""


class FutureDirectoryError(DirectoryError):
    """The directory is dated ahead of this machine's clock: the clock is behind."""


class RolledBackError(DirectoryError):
    """An older directory was served after a newer one of the same replica."""


class ForkedError(DirectoryError):
    """Two directories contradict each other. Both are kept as a proof that anyone can check.

    Attributes:
        proof: two encoded SignedKeyDirectory messages, with the exact bytes that were signed.
    """

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__("a replica signed two different key directories with one sequence number")
        self.proof = (first, second)
