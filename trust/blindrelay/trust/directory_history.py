"""What a client was shown of each replica: enough to notice an older directory, or two of one number.

The exact signed directories are kept as a log, bounded, for comparing with what others were shown
(spec/protocol.md, section 5; docs/adr/0008-key-transparency.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from blindrelay.trust.directory import VerifiedDirectory
from blindrelay.trust.errors import ForkedError, RolledBackError

KEPT_SECONDS: Final = 691_200
"""Eight days of log before the newest directory: one more than a change of identity is announced for."""

MAX_SHOWN: Final = 128
"""Directories in the log: the newest of 64 replicas, or five days of one whose keys change each hour."""

MAX_SHOWN_SIZE: Final = 524_288
"""Bytes of signed directories in the log; one with two keys is 3 KiB."""

LOOK_STEP: Final = 60
"""Seconds between noted times at which directories were shown."""

MAX_LOOKS: Final = 256
"""Noted times for each identity: five days of a client that fetches twice an hour."""

MAX_PROOFS: Final = 32
"""Contradictions that are kept in the file; the first ones say all."""

RELAY_LAG: Final = 120
"""Seconds by which one relay may honestly be behind another: it renews each minute what is 30 seconds old."""

Replica = tuple[bytes, bytes]
"""Identity and replica_id."""


class DirectoryHistory:
    """Judges each directory by those before it.

    Args:
        shown: the log of an earlier process: verified directories, in any order.
        proofs: the contradictions it kept: pairs of verified directories.
        complete_since: see below.
        looked: see below.

    Attributes:
        complete_since: Unix seconds; replicas whose directories were all older may be missing from the log.
        looked: for each identity (32 bytes), times at which directories of it were shown: issued_at of one of
            them, Unix seconds, growing. Whoever was not shown a replica then was denied it.
        changed: whether there is something to be written since it was last set to False.
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
        """Of each replica that contradicted itself, two encoded SignedKeyDirectory messages."""
        return {replica: fork.proof for replica, fork in self._forked.items()}

    @property
    def proofs(self) -> list[tuple[bytes, bytes]]:
        """Pairs of encoded SignedKeyDirectory messages that contradict each other."""
        return list(self.contradictions.values())

    @property
    def shown(self) -> list[VerifiedDirectory]:
        """The log: of each replica the newest directory, and the first with each set of keys."""
        return [log[sequence] for log in self._shown.values() for sequence in sorted(log)]

    def judge(self, directory: VerifiedDirectory) -> None:
        """Remembers a replica's newest directory.

        Raises RolledBackError; or ForkedError, from then on for every directory of that replica: which of
        two came first is the relay's to choose.
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
        """Takes over what this process has seen itself, where the log was read anew meanwhile."""
        self._seen_here = earlier._seen_here
        self._forked |= earlier._forked

    def _compare(self, first: VerifiedDirectory, second: VerifiedDirectory) -> None:
        # The delegation beside a directory may be renewed; what the replica signed may not differ.
        if first.statement != second.statement:
            self.convict(first, second)
            raise self._forked[first.replica]

    def convict(self, first: VerifiedDirectory, second: VerifiedDirectory) -> None:
        """Keeps two directories that contradict each other; nothing of that replica is taken from then on."""
        if first.replica not in self._forked:
            self._forked[first.replica] = ForkedError(first.signed, second.signed)
            self.changed = True

    def _check_rollback(self, newest: VerifiedDirectory, older: VerifiedDirectory) -> None:
        """What came by another process may have come by another relay, which is not behind by an attack."""
        seen_here = older.sequence < self._seen_here.get(older.replica, 0)
        if seen_here or older.issued_at + RELAY_LAG < newest.issued_at:
            raise RolledBackError("an older key directory was served after a newer one")

    def forget_before(self, now: int) -> None:
        """Drops what has expired, but for the log: such a directory is refused by its dates alone."""
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
        # By the bridge's time: this machine's clock may be wrong once, and must not empty the log.
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
        """The oldest first, and those that are their replica's newest after all others."""
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
    """Of one replica: the first with each set of keys, successor and signer, and the newest."""
    firsts: dict[object, VerifiedDirectory] = {}
    for sequence in sorted(log):
        each = log[sequence]
        said = frozenset(key.key_id for key in each.keys), each.next_identity_hash, each.signing_key
        firsts.setdefault(said, each)
    newest = log[max(log)]
    return {each.sequence: each for each in (*firsts.values(), newest)}
