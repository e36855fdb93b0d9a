"""What a client knows of a bridge beyond its pinned identity (spec/protocol.md, sections 4.4 and 5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from blindrelay.trust.directory import VerifiedDirectory, claimed_identity, verify_directory
from blindrelay.trust.directory_history import DirectoryHistory
from blindrelay.trust.errors import DirectoryError, EarlySuccessorError, ForeignIdentityError
from blindrelay.trust.identity import format_identity
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import REPLAY_WINDOW

ANNOUNCED_SECONDS: Final = 604_800
"""Seven days: how long a successor's hash has to stand before a client follows."""

LONGEST_SILENCE: Final = 259_200
"""Three days: after a longer time in which a client saw nothing signed, an announcement begins anew."""

CLOCKS_DIFFER: Final = 2 * REPLAY_WINDOW
"""Seconds between two replicas' clocks; one that was set back further counts from the beginning."""


@dataclass(frozen=True)
class Announcement:
    """A successor's hash that every verified directory of an identity has had since.

    Time is the bridge's, not this machine's: a relay that withholds directories does not make it pass.

    Attributes:
        next_identity_hash: 32 bytes.
        since: Unix seconds, the issued_at of the first directory that had it.
        newest: Unix seconds, the latest issued_at of one that had it.
    """

    next_identity_hash: bytes
    since: int
    newest: int

    @property
    def stood(self) -> int:
        """Seconds."""
        return self.newest - self.since


class KeyHistory:
    """A pinned identity, its successors, and the directories that were shown in their names.

    Args:
        identity: the pinned one, 32 bytes.
        successors: those that were accepted after it, in order.
        announcement: what the last of them announces as the next.
        directories: what was shown; an empty history if there is none.
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
        """Those that a directory may be of: the pinned one first, the one in force last."""
        return (self.identity, *self.successors)

    def in_order(self, signed: list[SignedKeyDirectory]) -> list[SignedKeyDirectory]:
        """Directories of known identities first: what they say decides on those of another."""
        return sorted(signed, key=lambda each: not self._is_known(each))

    def admit(self, signed: SignedKeyDirectory, now: int) -> VerifiedDirectory:
        """Verifies and judges a freshly fetched directory at `now` (Unix seconds), and remembers it.

        One of another identity is taken only if that was announced for seven days; then it joins the
        successors. Raises the DirectoryError that says what is wrong.
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
            self._heed(directory)
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

    def _heed(self, directory: VerifiedDirectory) -> None:
        heard = _heard(self.announcement, directory)
        if heard != self.announcement:
            self.announcement = heard
            self.directories.changed = True


def identity_hash(identity: bytes) -> bytes:
    """How a directory names the identity (32 bytes) that is to follow: its SHA-256, 32 bytes."""
    return hashlib.sha256(identity).digest()


def _heard(announced: Announcement | None, directory: VerifiedDirectory) -> Announcement | None:
    said, at = directory.next_identity_hash, directory.issued_at
    if not said:
        return None
    if announced is None or said != announced.next_identity_hash or not _continues(announced, at):
        return Announcement(said, at, at)
    return replace(announced, newest=max(announced.newest, at))


def _continues(announced: Announcement, at: int) -> bool:
    """Whether an issued_at is near enough to the latest, either way, to belong to the same announcement."""
    return -CLOCKS_DIFFER <= at - announced.newest <= LONGEST_SILENCE
