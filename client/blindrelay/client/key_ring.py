"""The keys that exchanges may be sealed to (spec/protocol.md, section 5)."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable

from google.protobuf.message import DecodeError

from blindrelay.client.errors import KeyTrustError, RelayError
from blindrelay.client.history_store import HistoryStore
from blindrelay.trust import DirectoryError, KeyHistory, VerifiedDirectory, VerifiedKey, format_identity
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import MAX_DIRECTORIES, MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus

_log = logging.getLogger(__name__)


class KeyRing:
    """Verified directories of one pinned bridge, until they expire. Safe to share between threads."""

    def __init__(
        self, identity: bytes, clock: Callable[[], float], store: HistoryStore | None = None
    ) -> None:
        """`store` keeps what was seen before; without one, this ring's own history begins empty."""
        self._clock = clock
        self._store = store or HistoryStore(identity)
        self._directories: list[VerifiedDirectory] = []
        self.refusals: list[DirectoryError] = []
        """Why directories of the newest fetch were left out."""
        self._lock = threading.Lock()
        self._left: set[tuple[bytes, bytes]] = set()
        """Replicas that said, sealed, that they are shutting down. A process does not come back."""
        self.generation = 0
        """Grows whenever a fetch is taken over."""

    def draw(self, issued_at: int) -> VerifiedKey | None:
        """A key for an exchange of that time, at random among all replicas'; None if none is known."""
        candidates = self._keys(issued_at)
        return secrets.choice(candidates) if candidates else None

    def leave(self, key: VerifiedKey) -> None:
        """Seals no more to the replica of this key."""
        self._left |= {directory.replica for directory in self._directories if key in directory.keys}

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of signed directories that contradict each other: proof against the bridge, for anyone."""
        return self._store.history.directories.proofs

    @property
    def directories(self) -> list[VerifiedDirectory]:
        """Those of the newest fetch."""
        return self._directories

    def is_superseded(self, key: VerifiedKey) -> bool:
        """Whether the key went with a process that another one has taken the place of (section 12).

        The newest directories do not have it, whatever the time, and one is of a process that started
        after the key was announced: a relay that merely leaves directories out has none such to show.
        """
        if any(key in directory.keys for directory in self._directories):
            return False
        return any(directory.started_at > key.announced_at for directory in self._directories)

    def take(self, encoded: bytes, generation: int) -> None:
        """Verifies a fetched GetKeyDirectoryResponse and takes its directories over.

        `generation` is that of the moment at which the fetch began: one that was overtaken is dropped,
        since its directories may be older than what is known by now. Raises KeyTrustError if not one
        directory holds, RelayError if there is none, ConfigurationError if the history's file is spoilt.
        """
        directories = _parse(encoded)
        with self._lock:
            if generation != self.generation:
                return
            with self._store.transaction() as history:
                verified, refusals = _judged(directories, history, int(self._clock()))
            # Also where none is left: what was trusted before is not trusted any more.
            self._directories = verified
            self.refusals = refusals
            self.generation += 1
        _report(verified, refusals)

    def _keys(self, issued_at: int) -> list[VerifiedKey]:
        now = self._clock()
        return [
            key
            for directory in self._directories
            if now <= directory.expires_at and directory.replica not in self._left
            for key in directory.keys
            if key.takes(issued_at)
        ]


def _parse(encoded: bytes) -> list[SignedKeyDirectory]:
    if len(encoded) > MAX_DIRECTORIES_SIZE:
        raise KeyTrustError("the relay served more key directories than the protocol allows")
    try:
        directories = list(GetKeyDirectoryResponse.FromString(encoded).directories)
    except DecodeError:
        raise KeyTrustError("the relay served something that is not a list of key directories") from None
    if len(directories) > MAX_DIRECTORIES:
        raise KeyTrustError("the relay served more key directories than the protocol allows")
    return directories


def _judged(
    directories: list[SignedKeyDirectory], history: KeyHistory, now: int
) -> tuple[list[VerifiedDirectory], list[DirectoryError]]:
    """Those that hold, and why the others do not."""
    verified: list[VerifiedDirectory] = []
    refusals: list[DirectoryError] = []
    known = history.identities
    history.directories.forget_before(now)
    for signed in history.in_order(directories):
        try:
            verified.append(history.admit(signed, now))
        except DirectoryError as error:
            refusals.append(error)
    # Also what came first of two that contradict each other: the order is the relay's.
    verified = [each for each in verified if each.replica not in history.directories.contradictions]
    for successor in history.identities[len(known) :]:
        _log.warning(
            "the bridge changed its identity from %s to %s, as it had announced for seven days: "
            "keys of both are taken; pin the new one",
            format_identity(known[-1]),
            format_identity(successor),
        )
    return verified, refusals


def _report(verified: list[VerifiedDirectory], refusals: list[DirectoryError]) -> None:
    for refusal in refusals:
        _log.warning("a key directory was refused: %s", refusal)
    if verified:
        return
    if not refusals:
        raise RelayError("the relay serves no key directory: no bridge is up", OuterStatus.BRIDGE_UNAVAILABLE)
    reasons = sorted({str(refusal) for refusal in refusals})
    raise KeyTrustError("no key can be trusted, so nothing was sent: " + "; ".join(reasons))
