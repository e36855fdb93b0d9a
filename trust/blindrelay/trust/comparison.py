"""What several clients were shown, side by side: every difference that honest operation does not explain
(spec/protocol.md, sections 4.3 and 4.4; docs/adr/0008-key-transparency.md).

An honest replica has one signing key and one start, numbers its directories in the order of their times,
and lists a key from its announcement until it ends. Honest relays show every replica that runs, a
little late. Times are the replicas' own: this needs no clock, and no two clients with one time.
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
"""Seconds within which every relay shows that a replica came or went: a minute to renew, half a minute of
an older directory that is still served, half a minute between replicas' clocks."""

ROLLOUT: Final = 86_400
"""Seconds that an operator may take to give all replicas the same successor to announce."""


class Kind(StrEnum):
    """What a difference is about."""

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
    """Something that honest operation does not explain.

    Attributes:
        kind: what it is about.
        text: a sentence for a person.
        replica_id: 16 bytes, whose it is; empty if it is no one replica's.
        identity: 32 bytes, the replica's.
        proof: two encoded SignedKeyDirectory messages, for a contradiction.
    """

    kind: Kind
    text: str
    replica_id: bytes = b""
    identity: bytes = b""
    proof: tuple[bytes, bytes] | None = None


@dataclass(frozen=True)
class Comparison:
    """What came of comparing.

    Attributes:
        differences: all that was found, contradictions first.
        unsettled: replicas that were among the newest that one side was shown, and that another was not,
            perhaps only because they were just coming or going: if that one looks again, it may tell.
        passing: how many more one side alone was shown, each too briefly to tell. Restarts leave a few; a
            thief who shows one client a new replica at each fetch leaves many.
    """

    differences: tuple[Difference, ...]
    unsettled: tuple[bytes, ...]
    passing: int


@dataclass(frozen=True)
class _Statement:
    """A directory, and which side was shown it."""

    side: str
    said: VerifiedDirectory


def compare(sides: Mapping[str, KeyHistory]) -> Comparison:
    """Compares what each side was shown; the names of the sides are used in the sentences."""
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
        # Whoever has followed the bridge to a new identity agrees with one who was given that one.
        mine, others = one.identities[-1], other.identities[-1]
        if mine != others:
            yield Difference(
                Kind.IDENTITY,
                f"{left} goes by {format_identity(mine)}, {right} by {format_identity(others)}: "
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
    ordered = sorted(statements, key=lambda each: (each.said.sequence, each.said.statement))
    yield from _contradictions(ordered)
    for one, other in pairwise(ordered):
        yield from _successive(one, other)
    yield from _dropped_keys(ordered)
    yield from _wavering(ordered)


def _contradictions(ordered: list[_Statement]) -> Iterator[Difference]:
    for one, other in pairwise(ordered):
        if is_contradiction(one.said, other.said):
            yield Difference(
                Kind.CONTRADICTION,
                f"replica {_short(one.said.replica_id)} signed two different directories number "
                f"{one.said.sequence}: {one.side} was shown one, {other.side} the other",
                one.said.replica_id,
                one.said.identity,
                (one.said.signed, other.said.signed),
            )


def _successive(one: _Statement, other: _Statement) -> Iterator[Difference]:
    name, replica_id = _short(one.said.replica_id), one.said.replica_id
    shown = f"{one.side} was shown number {one.said.sequence}, {other.side} number {other.said.sequence}"
    if other.said.issued_at < one.said.issued_at and other.said.sequence > one.said.sequence:
        text = f"replica {name} numbered its directories against the order of their times: {shown}"
        yield Difference(Kind.ORDER, text, replica_id)
    if other.said.signing_key != one.said.signing_key:
        yield Difference(Kind.SIGNER, f"replica {name} speaks with two signing keys: {shown}", replica_id)
    if other.said.started_at != one.said.started_at:
        yield Difference(
            Kind.START, f"replica {name} says of two times that it started then: {shown}", replica_id
        )


def _dropped_keys(ordered: list[_Statement]) -> Iterator[Difference]:
    announced: dict[bytes, tuple[_Statement, int]] = {}
    name, replica_id = _short(ordered[0].said.replica_id), ordered[0].said.replica_id
    for each in ordered:
        listed = {key.key_id for key in each.said.keys}
        for key_id, (first, not_after) in announced.items():
            if key_id not in listed and each.said.issued_at < not_after:
                yield Difference(
                    Kind.KEY,
                    f"{first.side} was shown key {_short(key_id)} of replica {name}; the later directory "
                    f"number {each.said.sequence} that {each.side} was shown lacks it, before its end",
                    replica_id,
                )
        announced = {key_id: seen for key_id, seen in announced.items() if key_id in listed}
        announced |= {
            key.key_id: (each, key.not_after) for key in each.said.keys if key.key_id not in announced
        }


def _wavering(ordered: list[_Statement]) -> Iterator[Difference]:
    """A replica's announcement changes, and does not change back."""
    left_behind: set[bytes] = set()
    for one, other in pairwise(ordered):
        before, after = one.said.next_identity_hash, other.said.next_identity_hash
        if before != after:
            left_behind.add(before)
            if after in left_behind:
                yield Difference(
                    Kind.SUCCESSOR,
                    f"replica {_short(one.said.replica_id)} goes back and forth between successors: "
                    f"{one.side} was told of {_hash(before)}, and {other.side} later of {_hash(after)} again",
                    one.said.replica_id,
                )


def _announced(sides: Mapping[str, KeyHistory]) -> Iterator[Difference]:
    """Two successors at one time, by whichever replicas; or one and none, for longer than a rollout."""
    for (left, one), (right, other) in combinations(sides.items(), 2):
        for a in _spans(one):
            for b in _spans(other):
                if a.identity == b.identity and a.said != b.said and not _may_overlap(a, b):
                    text = (
                        f"at the same time {left} was told of {_hash(a.said)}, and {right} of {_hash(b.said)}"
                    )
                    yield Difference(Kind.SUCCESSOR, text)


def _may_overlap(a: _Span, b: _Span) -> bool:
    """One successor and none do so while an operator tells all replicas; two successors never."""
    overlap = min(a.last, b.last) - max(a.first, b.first)
    return overlap < 0 or (b"" in (a.said, b.said) and overlap <= ROLLOUT)


@dataclass(frozen=True)
class _Span:
    """From when to when (issued_at) a side was told one successor of an identity, or none, and no other."""

    identity: bytes
    said: bytes
    first: int
    last: int


def _spans(history: KeyHistory) -> list[_Span]:
    spans: list[_Span] = []
    for identity in history.identities:
        shown = [each for each in history.directories.shown if each.identity == identity]
        shown.sort(key=lambda each: each.issued_at)
        for said, run in groupby(shown, key=lambda each: each.next_identity_hash):
            times = [each.issued_at for each in run]
            spans.append(_Span(identity, said, times[0], times[-1]))
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
    """Whether it was certainly shown directories while a replica ran that another saw before and after."""
    first = max(first, history.directories.complete_since)
    looked = history.directories.looked.get(identity, [])
    return any(first + SETTLING <= at <= last - SETTLING for at in looked)


def _unshown(replica_id: bytes, left: str, right: str) -> Difference:
    return Difference(
        Kind.REPLICA,
        f"{left} was shown replica {_short(replica_id)} before and after {right} was shown others and not "
        f"this one: it is shown to some clients only, or the relay of {right} does not reach it",
        replica_id,
    )


def _short(name: bytes) -> str:
    return name.hex()[:8]


def _hash(said: bytes) -> str:
    return f"successor {_short(said)}" if said else "no successor"
