"""Compares what several clients were shown, and reports each difference that honest operation cannot explain.

See spec/protocol.md, sections 4.3 and 4.4, and docs/adr/0008-key-transparency.md.

An honest replica has one signing key and one start time. It numbers its directories in the order of their
times, and lists a key from its announcement until its end. Honest relays show every running replica, a
little late. All times are those of the replicas, so the clocks of the clients do not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, groupby, pairwise
from typing import Final

from blindrelay.trust.contradiction import is_contradiction
from blindrelay.trust.directory import VerifiedDirectory
from blindrelay.trust.directory_history import Replica
from blindrelay.trust.identity import format_identity
from blindrelay.trust.key_history import KeyHistory

SETTLING: Final = 120
"""Seconds until every relay shows that a replica came or went. A relay renews each minute; a directory may be
half a minute old, and the clocks of two replicas half a minute apart."""

ROLLOUT: Final = 86_400
"""Seconds that an operator may take until all replicas announce the same successor."""


class Kind(StrEnum):
    """The subject of a difference."""

    IDENTITY = "identity"
    CONTRADICTION = "contradiction"
    ORDER = "order"
    SIGNER = "signer"
    START = "start"
    KEY = "key"
    SUCCESSOR = "successor"
    REPLICA = "replica"


@dataclass(frozen=True)
class Difference:
    """Something that honest operation cannot explain.

    Attributes:
        kind: its subject.
        text: a sentence for a person.
        replica_id: 16 bytes; empty if several replicas are involved.
        identity: 32 bytes, of that replica.
        proof: two encoded SignedKeyDirectory messages, for a contradiction.
    """

    kind: Kind
    text: str
    replica_id: bytes = b""
    identity: bytes = b""
    proof: tuple[bytes, bytes] | None = None


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        differences: everything that was found, contradictions first.
        unsettled: replicas that only one side was shown, just before or after the last fetch of the other.
            They may be starting or stopping; another fetch by the other side can tell.
        passing: how many more replicas one side alone was shown, each too briefly to tell. Restarts leave a
            few. A thief who shows one client a new replica at each fetch leaves many.
    """

    differences: tuple[Difference, ...]
    unsettled: tuple[bytes, ...]
    passing: int


@dataclass(frozen=True)
class _Statement:
    """A directory, and the side that was shown it."""

    side: str
    directory: VerifiedDirectory


def compare(sides: Mapping[str, KeyHistory]) -> Comparison:
    """Compares the histories. Their names are used in the sentences of the differences."""
    differences = [*_identities(sides), *_kept_proofs(sides)]
    by_replica: dict[Replica, list[_Statement]] = {}
    for side, history in sides.items():
        for directory in history.directories.shown:
            by_replica.setdefault(directory.replica, []).append(_Statement(side, directory))
    for statements in by_replica.values():
        differences += _of_one_replica(statements)
    differences += _announced(sides)
    missing, unsettled, passing = _one_sided(sides)
    found = dict.fromkeys([*differences, *missing])
    ordered = sorted(found, key=lambda each: each.kind is not Kind.CONTRADICTION)
    return Comparison(tuple(ordered), tuple(dict.fromkeys(unsettled)), passing)


def _identities(sides: Mapping[str, KeyHistory]) -> Iterator[Difference]:
    for (left, one), (right, other) in combinations(sides.items(), 2):
        # A client that followed the bridge to a new identity agrees with one that pinned the new identity.
        mine, others = one.identities[-1], other.identities[-1]
        if mine != others:
            yield Difference(
                Kind.IDENTITY,
                f"{left} trusts {format_identity(mine)}, {right} trusts {format_identity(others)}: "
                "two bridges, or a change of identity that one of them has not accepted",
            )


def _kept_proofs(sides: Mapping[str, KeyHistory]) -> Iterator[Difference]:
    for side, history in sides.items():
        for replica, proof in history.directories.contradictions.items():
            yield Difference(
                Kind.CONTRADICTION,
                f"{side} holds proof that replica {_short(replica[1])} signed two different directories "
                "with one sequence number",
                replica[1],
                replica[0],
                proof,
            )


def _of_one_replica(statements: list[_Statement]) -> Iterator[Difference]:
    ordered = sorted(statements, key=lambda each: (each.directory.sequence, each.directory.statement))
    yield from _contradictions(ordered)
    for one, other in pairwise(ordered):
        yield from _successive(one, other)
    yield from _dropped_keys(ordered)
    yield from _returned_successors(ordered)


def _contradictions(ordered: list[_Statement]) -> Iterator[Difference]:
    for one, other in pairwise(ordered):
        if is_contradiction(one.directory, other.directory):
            yield Difference(
                Kind.CONTRADICTION,
                f"replica {_short(one.directory.replica_id)} signed two different directories number "
                f"{one.directory.sequence}: {one.side} was shown one, {other.side} the other",
                one.directory.replica_id,
                one.directory.identity,
                (one.directory.signed, other.directory.signed),
            )


def _successive(one: _Statement, other: _Statement) -> Iterator[Difference]:
    earlier, later = one.directory, other.directory
    name, replica_id = _short(earlier.replica_id), earlier.replica_id
    shown = f"{one.side} was shown number {earlier.sequence}, {other.side} number {later.sequence}"
    if later.issued_at < earlier.issued_at and later.sequence > earlier.sequence:
        text = f"replica {name} did not number its directories in the order of their times: {shown}"
        yield Difference(Kind.ORDER, text, replica_id)
    if later.signing_key != earlier.signing_key:
        yield Difference(Kind.SIGNER, f"replica {name} uses two signing keys: {shown}", replica_id)
    if later.started_at != earlier.started_at:
        yield Difference(Kind.START, f"replica {name} states two start times: {shown}", replica_id)


def _dropped_keys(ordered: list[_Statement]) -> Iterator[Difference]:
    announced: dict[bytes, tuple[_Statement, int]] = {}
    name, replica_id = _short(ordered[0].directory.replica_id), ordered[0].directory.replica_id
    for each in ordered:
        listed = {key.key_id for key in each.directory.keys}
        for key_id, (first, not_after) in announced.items():
            if key_id not in listed and each.directory.issued_at < not_after:
                yield Difference(
                    Kind.KEY,
                    f"{first.side} was shown key {_short(key_id)} of replica {name}, but the later directory "
                    f"number {each.directory.sequence} that {each.side} was shown lacks it before its end",
                    replica_id,
                )
        announced = {key_id: seen for key_id, seen in announced.items() if key_id in listed}
        announced |= {
            key.key_id: (each, key.not_after) for key in each.directory.keys if key.key_id not in announced
        }


def _returned_successors(ordered: list[_Statement]) -> Iterator[Difference]:
    """An honest announcement never changes back to an earlier one."""
    left_behind: set[bytes] = set()
    for one, other in pairwise(ordered):
        before, after = one.directory.next_identity_hash, other.directory.next_identity_hash
        if before != after:
            left_behind.add(before)
            if after in left_behind:
                yield Difference(
                    Kind.SUCCESSOR,
                    f"replica {_short(one.directory.replica_id)} goes back and forth between successors: "
                    f"{one.side} was told of {_named(before)}, {other.side} later of {_named(after)} again",
                    one.directory.replica_id,
                )


def _announced(sides: Mapping[str, KeyHistory]) -> Iterator[Difference]:
    """Two successors at the same time, from any replicas; or one and none for longer than a rollout."""
    for (left, one), (right, other) in combinations(sides.items(), 2):
        for a in _spans(one):
            for b in _spans(other):
                if a.identity == b.identity and a.successor != b.successor and not _may_overlap(a, b):
                    text = (
                        f"at the same time {left} was told of {_named(a.successor)}, "
                        f"and {right} of {_named(b.successor)}"
                    )
                    yield Difference(Kind.SUCCESSOR, text)


def _may_overlap(a: _Span, b: _Span) -> bool:
    """One successor and none may overlap during a rollout; two different successors may not."""
    overlap = min(a.last, b.last) - max(a.first, b.first)
    return overlap < 0 or (b"" in (a.successor, b.successor) and overlap <= ROLLOUT)


@dataclass(frozen=True)
class _Span:
    """A time (by issued_at) in which a side was told one successor of an identity, or none, and no other."""

    identity: bytes
    successor: bytes
    first: int
    last: int


def _spans(history: KeyHistory) -> list[_Span]:
    spans: list[_Span] = []
    for identity in history.identities:
        shown = [each for each in history.directories.shown if each.identity == identity]
        shown.sort(key=lambda each: each.issued_at)
        for successor, run in groupby(shown, key=lambda each: each.next_identity_hash):
            times = [each.issued_at for each in run]
            spans.append(_Span(identity, successor, times[0], times[-1]))
    return spans


def _one_sided(sides: Mapping[str, KeyHistory]) -> tuple[list[Difference], list[bytes], int]:
    differences: list[Difference] = []
    unsettled: list[bytes] = []
    passing = 0
    for left, one in sides.items():
        for right, other in sides.items():
            known = {each.replica for each in other.directories.shown} | set(other.directories.contradictions)
            for replica, times in _times(one.directories.shown).items():
                if replica in known or replica[0] not in other.identities:
                    continue
                if _looked_between(other, replica[0], min(times), max(times)):
                    differences.append(_unshown(replica[1], left, right))
                elif max(times) + SETTLING >= max(other.directories.looked.get(replica[0], [0])):
                    unsettled.append(replica[1])
                else:
                    passing += 1
    return differences, unsettled, passing


def _times(shown: Iterable[VerifiedDirectory]) -> dict[Replica, list[int]]:
    times: dict[Replica, list[int]] = {}
    for each in shown:
        times.setdefault(each.replica, []).append(each.issued_at)
    return times


def _looked_between(history: KeyHistory, identity: bytes, first: int, last: int) -> bool:
    """Whether a side fetched directories between the first and the last time that a replica was seen."""
    first = max(first, history.directories.complete_since)
    looked = history.directories.looked.get(identity, [])
    return any(first + SETTLING <= at <= last - SETTLING for at in looked)


def _unshown(replica_id: bytes, left: str, right: str) -> Difference:
    return Difference(
        Kind.REPLICA,
        f"{left} was shown replica {_short(replica_id)} before and after {right} was shown only others: "
        f"some clients are not shown this replica, or the relay of {right} does not reach it",
        replica_id,
    )


def _short(name: bytes) -> str:
    return name.hex()[:8]


def _named(successor: bytes) -> str:
    return f"successor {_short(successor)}" if successor else "no successor"
