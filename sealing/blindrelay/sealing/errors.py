"""What can go wrong in the core, by who is at fault.

::

    SealingError
    ├── OpenError            somebody on the way altered, cut into or forged it; never says what
    ├── TruncatedError       the stream ended before its authenticated end
    ├── ViolationError       the authentic peer broke the protocol
    ├── StateError           this side's caller used an object out of order
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
    "OpenError",
    "RolledBackError",
    "SealingError",
    "StaleDirectoryError",
    "StateError",
    "TruncatedError",
    "UnknownSuiteError",
    "ViolationError",
]


class SealingError(PicklableError):
    """The root of this package's errors."""


class OpenError(SealingError):
    """A sealed message did not open. One sentence for every cause, so that nothing can be probed with it."""

    def __init__(self) -> None:
        super().__init__("a sealed message did not open: it was altered, misplaced or sealed to another key")


class TruncatedError(SealingError):
    """The stream ended before its final record: what came so far is a part, not the whole."""

    def __init__(self) -> None:
        super().__init__("the sealed stream was cut before its end")


class ViolationError(SealingError):
    """What opened is authentic and yet not what the protocol allows: the peer is faulty."""


class StateError(SealingError):
    """The caller used a one-shot object twice or out of order."""


class IdentityError(SealingError):
    """The text is not an identity: mistyped, cut or of another kind."""


class HistoryFormError(SealingError):
    """The text is not what a client keeps of what it was shown: damaged, or of another kind."""


class DirectoryError(SealingError):
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
