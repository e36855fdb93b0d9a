"""The keys that exchanges may be sealed to (spec/protocol.md, section 5)."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable

from google.protobuf.message import DecodeError

from blindrelay.client.errors import KeyTrustError, RelayError
from blindrelay.sealing import (
    DirectoryError,
    DirectoryHistory,
    VerifiedDirectory,
    VerifiedKey,
    verify_directory,
)
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.keys_pb2 import SignedKeyDirectory
from blindrelay.v1.limits import MAX_DIRECTORIES, MAX_DIRECTORIES_SIZE
from blindrelay.v1.outer_status import OuterStatus

_log = logging.getLogger(__name__)


class KeyRing:
    """Verified directories of one pinned bridge, until they expire. Safe to share between threads."""

    def __init__(self, identity: bytes, clock: Callable[[], float]) -> None:
        self._identity = identity
        self._clock = clock
        self._history = DirectoryHistory()
        self._directories: list[VerifiedDirectory] = []
        self._lock = threading.Lock()
        self.generation = 0
        """Grows whenever a fetch is taken over."""

    def draw(self, issued_at: int) -> VerifiedKey | None:
        """A key for an exchange of that time, at random among all replicas'; None if none is known."""
        candidates = self._keys(issued_at)
        return secrets.choice(candidates) if candidates else None

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of signed directories that contradict each other: proof against the bridge, for anyone."""
        return self._history.proofs

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
        directory holds, RelayError if there is none.
        """
        directories = _parse(encoded)
        with self._lock:
            if generation != self.generation:
                return
            now = int(self._clock())
            self._history.forget_before(now)
            verified: list[VerifiedDirectory] = []
            refusals: list[DirectoryError] = []
            for signed in directories:
                try:
                    directory = verify_directory(signed, self._identity, now)
                    self._history.judge(directory)
                except DirectoryError as error:
                    refusals.append(error)
                else:
                    verified.append(directory)
            # Also where none is left: what was trusted before is not trusted any more.
            self._directories = verified
            self.generation += 1
        _report(verified, refusals)

    def _keys(self, issued_at: int) -> list[VerifiedKey]:
        now = self._clock()
        return [
            key
            for directory in self._directories
            if now <= directory.expires_at
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


def _report(verified: list[VerifiedDirectory], refusals: list[DirectoryError]) -> None:
    for refusal in refusals:
        _log.warning("a key directory was refused: %s", refusal)
    if verified:
        return
    if not refusals:
        raise RelayError("the relay serves no key directory: no bridge is up", OuterStatus.BRIDGE_UNAVAILABLE)
    reasons = sorted({str(refusal) for refusal in refusals})
    raise KeyTrustError("no key can be trusted, so nothing was sent: " + "; ".join(reasons))
