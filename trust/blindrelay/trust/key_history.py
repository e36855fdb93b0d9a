"""What a client learns about a bridge beyond its pinned identity (spec/protocol.md, section 5, annex C)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from blindrelay.trust.directory import VerifiedDirectory, claimed_identity, verify_directory
from blindrelay.trust.directory_history import DirectoryHistory
from blindrelay.trust.errors import DirectoryError, EarlySuccessorError, ForeignIdentityError
from blindrelay.trust.identity import format_identity
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import CLOCK_TOLERANCE

ANNOUNCED_SECONDS: Final = 604_800
"""Seven days: how long a successor must be announced before a client follows it."""

LONGEST_SILENCE: Final = 259_200
"""Three days: if a client sees no signed directory for longer, an announcement starts again."""

CLOCKS_DIFFER: Final = 2 * CLOCK_TOLERANCE
"""Seconds between the clocks of two replicas. If a clock steps back further, an announcement starts again."""


@dataclass(frozen=True)
class Announcement:
    """The hash of a successor that every verified directory has had since a time.

    Times are the bridge's, not this machine's: they do not advance while a relay withholds directories.

    Attributes:
        next_identity_hash: 32 bytes.
        since: Unix seconds, the issued_at of the first directory with the hash.
        newest: Unix seconds, the latest issued_at of a directory with the hash.
    """

    next_identity_hash: bytes
    since: int
    newest: int

    @property
    def stood(self) -> int:
        """Seconds for which it was seen."""
        return self.newest - self.since


class KeyHistory:
    """A pinned identity, its successors and their directories.

    Args:
        identity: the pinned one, 32 bytes.
        successors: the accepted ones, in order.
        announcement: the successor that the last of them announces.
        directories: what was shown; None means nothing.
    """

    def __init__(
        self,
        identity: bytes,
        successors: tuple[bytes, ...] = (),
        announcement: Announcement | None = None,
        directories: DirectoryHistory | None = None,
    ) -> None:
        self.identity = identity
        self.successors = successors
        self.announcement = announcement
        self.directories = directories or DirectoryHistory()

    @property
    def identities(self) -> tuple[bytes, ...]:
        """The identities that a directory may have: the pinned one first, the current one last."""
        return (self.identity, *self.successors)

    def in_order(self, signed: list[SignedKeyDirectory]) -> list[SignedKeyDirectory]:
        """Puts directories of known identities first: they decide whether a successor's are accepted."""
        return sorted(signed, key=lambda each: not self._is_known(each))

    def admit(self, signed: SignedKeyDirectory, now: int) -> VerifiedDirectory:
        """Verifies and judges a freshly fetched directory at `now` (Unix seconds), and remembers it.

        A directory of an unknown identity is accepted if that identity was announced for seven days; then it
        becomes a successor. Raises the DirectoryError that says what is wrong.
        """
        identity = claimed_identity(signed)
        if identity not in self.identities:
            self._check_succession(identity)
        directory = verify_directory(signed, identity, now)
        self.directories.judge(directory)
        if identity not in self.identities:
            self.successors = (*self.successors, identity)
            self.announcement = None
        if identity == self.identities[-1]:
            self._update_announcement(directory)
        return directory

    def _is_known(self, signed: SignedKeyDirectory) -> bool:
        try:
            return claimed_identity(signed) in self.identities
        except DirectoryError:
            return False

    def _check_succession(self, identity: bytes) -> None:
        texts = format_identity(self.identities[-1]), format_identity(identity)
        announced = self.announcement
        if announced is None or announced.next_identity_hash != identity_hash(identity):
            raise ForeignIdentityError(*texts)
        if announced.stood < ANNOUNCED_SECONDS:
            raise EarlySuccessorError(*texts, announced.stood, ANNOUNCED_SECONDS)

    def _update_announcement(self, directory: VerifiedDirectory) -> None:
        updated = _updated(self.announcement, directory)
        if updated != self.announcement:
            self.announcement = updated
            self.directories.changed = True


def identity_hash(identity: bytes) -> bytes:
    """The SHA-256 (32 bytes) by which a directory announces the next identity (32 bytes)."""
    return hashlib.sha256(identity).digest()


def _updated(announced: Announcement | None, directory: VerifiedDirectory) -> Announcement | None:
    successor, at = directory.next_identity_hash, directory.issued_at
    if not successor:
        return None
    if announced is None or successor != announced.next_identity_hash or not _continues(announced, at):
        return Announcement(successor, at, at)
    return replace(announced, newest=max(announced.newest, at))


def _continues(announced: Announcement, at: int) -> bool:
    """Whether an issued_at is close enough to the latest one to belong to the same announcement."""
    return -CLOCKS_DIFFER <= at - announced.newest <= LONGEST_SILENCE
