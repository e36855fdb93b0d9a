"""What can be wrong with identities, key directories and what a client keeps of them.

::

    TrustError
    ├── IdentityError        an identity string is mistyped
    ├── HistoryFormError     a file of what a client was shown is damaged, or of another kind
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

__all__ = [
    "BadDelegationError",
    "BadSignatureError",
    "DirectoryError",
    "EarlySuccessorError",
    "ForeignIdentityError",
    "ForkedError",
    "FutureDirectoryError",
    "HistoryFormError",
    "IdentityError",
    "MalformedDirectoryError",
    "RolledBackError",
    "StaleDirectoryError",
    "TrustError",
    "UnknownSuiteError",
]


class TrustError(PicklableError):
    """The root of this package's errors."""


class IdentityError(TrustError):
    """The text is not an identity: mistyped, cut or of another kind."""


class HistoryFormError(TrustError):
    """The text is not what a client keeps of what it was shown: damaged, or of another kind."""


class DirectoryError(TrustError):
    """A key directory cannot be trusted."""


class MalformedDirectoryError(DirectoryError):
    """The directory is not in the form that the protocol gives it."""


class ForeignIdentityError(DirectoryError):
    """The directory belongs to another bridge than the pinned one, which has not announced it."""

    def __init__(self, pinned: str, served: str) -> None:
        super().__init__(
            f"the key directory is another bridge's, not the pinned one's: pinned is {pinned}, served is "
            f"{served}, which was not announced. Ask the bridge's operator (not the relay's) which is right; "
            f"only if it is the new one, pin it with bridge={served}"
        )


class EarlySuccessorError(DirectoryError):
    """The identity is announced as the pinned one's successor, and not for long enough."""

    def __init__(self, pinned: str, served: str, stood: int, needed: int) -> None:
        super().__init__(
            f"the bridge's identity changes too early: pinned is {pinned}, served is {served}, whose "
            f"announcement this client has seen stand for {stood:,} of {needed:,} seconds. Wait, or ask the "
            f"bridge's operator (not the relay's); only if the new one is right, pin it with bridge={served}"
        )


class BadDelegationError(DirectoryError):
    """The pinned identity did not let this replica speak for it, or not now."""


class BadSignatureError(DirectoryError):
    """The directory's signature is not its replica's."""

    def __init__(self) -> None:
        super().__init__("the key directory's signature does not verify")


class UnknownSuiteError(DirectoryError):
    """A key is of a suite that this version does not know."""


class StaleDirectoryError(DirectoryError):
    """The directory is too old: an old one was served, or this machine's clock is ahead."""


class FutureDirectoryError(DirectoryError):
    """The directory is dated ahead of this machine's clock: the clock is behind."""


class RolledBackError(DirectoryError):
    """An older directory was served after a newer one of the same replica."""


class ForkedError(DirectoryError):
    """Two directories contradict each other. Both are kept, as proof that anyone can check.

    Attributes:
        proof: two encoded SignedKeyDirectory messages; what each holds and signs is exact bytes.
    """

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__("a replica signed two different key directories with one sequence number")
        self.proof = (first, second)
