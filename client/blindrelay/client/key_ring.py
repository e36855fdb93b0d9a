"""The keys that exchanges may be sealed to (spec/protocol.md, section 5)."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable

from google.protobuf.message import DecodeError

from blindrelay.client.errors import KeyTrustError, RelayError
from blindrelay.client.history_store import HistoryStore
from blindrelay.trust import (
    DirectoryError,
    KeyHistory,
    SignedDelegation,
    VerifiedDirectory,
    VerifiedKey,
    format_identity,
)
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import MAX_DIRECTORIES, MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus

_log = logging.getLogger(__name__)


class KeyRing:
    """The verified key directories of one pinned bridge, until they expire. Threads may share it."""

    def __init__(
        self, identity: bytes, clock: Callable[[], float], store: HistoryStore | None = None
    ) -> None:
        """`store` holds the key history. By default it is empty and in memory."""
        self._clock = clock
        self._store = store or HistoryStore(identity)
        self._directories: list[VerifiedDirectory] = []
        self.refusals: list[DirectoryError] = []
        """Why directories of the newest fetch were refused."""
        self._lock = threading.Lock()
        self._left: set[tuple[bytes, bytes]] = set()
        """Replicas that said in a sealed error that they are shutting down. They do not come back."""
        self.generation = 0
        """Is incremented by each fetch that is taken."""
        self.leases = False
        """Whether the relay gave a lease with the newest fetch."""

    def draw(self, issued_at: int) -> VerifiedKey | None:
        """A random key of any replica for an exchange of that time, or None."""
        candidates = self._keys(issued_at)
        if len(candidates) > 1:
            return secrets.choice(candidates)
        return candidates[0] if candidates else None

    def announced(self, key: VerifiedKey, issued_at: int) -> VerifiedKey | None:
        """The key as draw() may return it now, with the prices of the newest fetch; None if it cannot."""
        return next((each for each in self._keys(issued_at) if each == key), None)

    def leave(self, key: VerifiedKey) -> None:
        """Stops drawing keys of this key's replica."""
        self._left |= {directory.replica for directory in self._directories if key in directory.keys}

    def delegation_of(self, key: VerifiedKey) -> SignedDelegation | None:
        """The delegation of the replica that has the key; None once it is listed no more."""
        for directory in self._directories:
            if key in directory.keys:
                return directory.delegation
        return None

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of signed directories that contradict each other: public proofs that the bridge forked."""
        return self._store.history.directories.proofs

    @property
    def directories(self) -> list[VerifiedDirectory]:
        """The directories of the newest fetch."""
        return self._directories

    def is_superseded(self, key: VerifiedKey) -> bool:
        """Whether the bridge process that had the key was replaced by a newer one (section 12).

        The newest directories do not contain the key, whatever its time, and one of them is of a process that
        started after the key was announced. A relay that only hides directories has no such directory.
        """
        if any(key in directory.keys for directory in self._directories):
            return False
        return any(directory.started_at > key.announced_at for directory in self._directories)

    def take(self, encoded: bytes, generation: int) -> None:
        """Verifies a fetched GetKeyDirectoryResponse and replaces the directories with its own.

        `generation` is that of the moment when the fetch began. If another fetch was taken since, this one is
        dropped, because its directories may be older. Raises KeyTrustError if no directory is valid,
        RelayError if the relay has no directories, and ConfigurationError if the history file is damaged.
        """
        response = _parse(encoded)
        with self._lock:
            self.leases = bool(response.lease)
            if generation != self.generation:
                return
            with self._store.transaction() as history:
                verified, refusals = _judged(response.directories, history, int(self._clock()))
            # Even if none is left: the previous ones are not trusted any more.
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


def _parse(encoded: bytes) -> GetKeyDirectoryResponse:
    if len(encoded) > MAX_DIRECTORIES_SIZE:
        raise KeyTrustError("the relay served more key directories than the protocol allows")
    try:
        response = GetKeyDirectoryResponse.FromString(encoded)
    except DecodeError:
        raise KeyTrustError("the relay sent an invalid list of key directories") from None
    if len(response.directories) > MAX_DIRECTORIES:
        raise KeyTrustError("the relay served more key directories than the protocol allows")
    return response


def _judged(
    directories: Iterable[SignedKeyDirectory], history: KeyHistory, now: int
) -> tuple[list[VerifiedDirectory], list[DirectoryError]]:
    """The valid directories, and why the others were refused."""
    verified: list[VerifiedDirectory] = []
    refusals: list[DirectoryError] = []
    known = history.identities
    history.directories.forget_before(now)
    for signed in history.in_order(list(directories)):
        try:
            verified.append(history.admit(signed, now))
        except DirectoryError as error:
            refusals.append(error)
    # Of two that contradict each other, the first is dropped, too: the relay chose the order.
    verified = [each for each in verified if each.replica not in history.directories.contradictions]
    for successor in history.identities[len(known) :]:
        _log.warning(
            "the bridge changed its identity from %s to %s, as it had announced for seven days. "
            "Keys of both are accepted; pin the new one",
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
