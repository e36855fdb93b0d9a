"""The directories that a client was shown: they reveal an older directory, or two with one number.

The exact signed directories are kept in a bounded log, to be compared with what others were shown
(spec/protocol.md, section 5; docs/adr/0008-key-transparency.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from blindrelay.trust.directory import VerifiedDirectory
from blindrelay.trust.errors import ForkedError, RolledBackError

KEPT_SECONDS: Final = 691_200
"""The log covers eight days before the newest directory: one more than a successor is announced for."""

MAX_SHOWN: Final = 128
"""The most directories in the log: enough for 64 replicas, or for five days of one with hourly keys."""

MAX_SHOWN_SIZE: Final = 524_288
"""The most bytes of signed directories in the log. One with two keys has 3 KiB."""

LOOK_STEP: Final = 60
"""Seconds between two times in `looked`."""

MAX_LOOKS: Final = 256
"""The most times in `looked` for each identity: five days of a client that fetches twice an hour."""

MAX_PROOFS: Final = 32
"""The most contradictions in a file. The first ones suffice."""

RELAY_LAG: Final = 120
"""Seconds that one relay may be behind another: each renews, every minute, what may be 30 seconds old."""

Replica = tuple[bytes, bytes]
"""Identity and replica_id."""


class DirectoryHistory:
    """Judges each directory by the earlier ones.

    Args:
        shown: the log of an earlier process: verified directories in any order.
        proofs: the contradictions of an earlier process: pairs of verified directories.
        complete_since: see below.
        looked: see below.

    Attributes:
        complete_since: Unix seconds; replicas may be missing from the log if all their directories are older.
        looked: for each identity (32 bytes), increasing times (issued_at) when its directories were shown. A
            running replica that was not shown at such a time was withheld.
        changed: whether the history changed since this was last set to False.
    """

    def __init__(
        self,
        shown: Iterable[VerifiedDirectory] = (),
        proofs: Iterable[tuple[VerifiedDirectory, VerifiedDirectory]] = (),
        complete_since: int = 0,
        looked: Mapping[bytes, Sequence[int]] = MappingProxyType({}),
    ) -> None:
        self.complete_since = complete_since
        self.looked = {identity: list(times) for identity, times in looked.items()}
        self.changed = False
        self._shown: dict[Replica, dict[int, VerifiedDirectory]] = {}
        self._newest: dict[Replica, VerifiedDirectory] = {}
        self._seen_here: dict[Replica, int] = {}
        self._forked: dict[Replica, ForkedError] = {}
        for directory in shown:
            self._shown.setdefault(directory.replica, {})[directory.sequence] = directory
        for replica, log in self._shown.items():
            self._newest[replica] = log[max(log)]
        for first, second in proofs:
            self._forked[first.replica] = ForkedError(first.signed, second.signed)

    @property
    def contradictions(self) -> dict[Replica, tuple[bytes, bytes]]:
        """Two encoded SignedKeyDirectory messages for each replica that contradicted itself."""
        return {replica: fork.proof for replica, fork in self._forked.items()}

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of encoded SignedKeyDirectory messages that contradict each other."""
        return list(self.contradictions.values())

    @property
    def shown(self) -> list[VerifiedDirectory]:
        """The log: for each replica the newest directory and the first one with each set of keys."""
        return [log[sequence] for log in self._shown.values() for sequence in sorted(log)]

    def judge(self, directory: VerifiedDirectory) -> None:
        """Compares a directory with the earlier ones of its replica, and remembers it.

        Raises RolledBackError for an older directory. Raises ForkedError for a contradiction, and from then
        on for every directory of that replica: the relay could choose which of the two comes first.
        """
        replica = directory.replica
        if replica in self._forked:
            raise self._forked[replica].with_traceback(None)
        for seen in (self._newest.get(replica), self._shown.get(replica, {}).get(directory.sequence)):
            if seen is not None and seen.sequence == directory.sequence:
                self._compare(seen, directory)
        newest = self._newest.get(replica)
        if newest is not None and directory.sequence < newest.sequence:
            self._check_rollback(newest, directory)
        else:
            self._newest[replica] = directory
        self._seen_here[replica] = directory.sequence
        self._log(directory)
        self._look(directory)

    def continue_from(self, earlier: DirectoryHistory) -> None:
        """Takes over what this process has seen itself, after the log was read from its file again."""
        self._seen_here = earlier._seen_here
        self._forked |= earlier._forked

    def _compare(self, first: VerifiedDirectory, second: VerifiedDirectory) -> None:
        # The delegation may be renewed; what the replica signed must be the same.
        if first.statement != second.statement:
            self.convict(first, second)
            raise self._forked[first.replica]

    def convict(self, first: VerifiedDirectory, second: VerifiedDirectory) -> None:
        """Keeps two directories that contradict each other. Their replica is never trusted again."""
        if first.replica not in self._forked:
            self._forked[first.replica] = ForkedError(first.signed, second.signed)
            self.changed = True

    def _check_rollback(self, newest: VerifiedDirectory, older: VerifiedDirectory) -> None:
        """Another process may have used another relay, so an honest directory may be a little older."""
        seen_here = older.sequence < self._seen_here.get(older.replica, 0)
        if seen_here or older.issued_at + RELAY_LAG < newest.issued_at:
            raise RolledBackError("an older key directory was served after a newer one")

    def forget_before(self, now: int) -> None:
        """Forgets expired directories, which their dates alone rule out. The log stays."""
        self._newest = {replica: seen for replica, seen in self._newest.items() if seen.expires_at >= now}
        self._seen_here = {
            replica: number for replica, number in self._seen_here.items() if replica in self._newest
        }

    def _look(self, directory: VerifiedDirectory) -> None:
        times = self.looked.setdefault(directory.identity, [])
        if not times or directory.issued_at >= times[-1] + LOOK_STEP:
            times.append(directory.issued_at)
            self.changed = True
            del times[:-MAX_LOOKS]

    def _log(self, directory: VerifiedDirectory) -> None:
        log = self._shown.setdefault(directory.replica, {})
        if directory.sequence in log:
            return
        log[directory.sequence] = directory
        self.changed = True
        self._shown[directory.replica] = _thinned(log)
        # Uses the bridge's time: a wrong clock on this machine must not empty the log.
        newest = max(each.issued_at for log in self._shown.values() for each in log.values())
        for each in self.shown:
            if each.issued_at < newest - KEPT_SECONDS:
                self._drop(each)
        self._make_room()

    def _make_room(self) -> None:
        kept = self.shown
        count, size = len(kept), sum(len(each.signed) for each in kept)
        for each in self._least_wanted():
            if count <= MAX_SHOWN and size <= MAX_SHOWN_SIZE:
                return
            self._drop(each)
            count, size = count - 1, size - len(each.signed)

    def _least_wanted(self) -> Iterator[VerifiedDirectory]:
        """The oldest first, but the newest directory of each replica last."""
        newest = {(replica, max(log)) for replica, log in self._shown.items()}
        yield from sorted(
            self.shown, key=lambda each: ((each.replica, each.sequence) in newest, each.issued_at)
        )

    def _drop(self, directory: VerifiedDirectory) -> None:
        log = self._shown[directory.replica]
        del log[directory.sequence]
        if not log:
            del self._shown[directory.replica]
            self.complete_since = max(self.complete_since, directory.issued_at + 1)


def _thinned(log: dict[int, VerifiedDirectory]) -> dict[int, VerifiedDirectory]:
    """For one replica: the first directory with each set of keys, successor and signer, and the newest."""
    firsts: dict[object, VerifiedDirectory] = {}
    for sequence in sorted(log):
        each = log[sequence]
        content = frozenset(key.key_id for key in each.keys), each.next_identity_hash, each.signing_key
        firsts.setdefault(content, each)
    newest = log[max(log)]
    return {each.sequence: each for each in (*firsts.values(), newest)}
