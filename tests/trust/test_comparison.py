"""Comparing histories: every cheat is reported, and honest operation is not."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.trust import (
    Comparison,
    ForkedError,
    IdentityKey,
    KeyHistory,
    VerifiedDirectory,
    compare,
    identity_hash,
    verify_proof,
)
from blindrelay.trust.comparison import ROLLOUT, SETTLING, Kind

from .replicas import DAY, IDENTITY, KEYS, NOW, STRANGER, SUCCESSOR, Replica, history_of

HASH = identity_hash(SUCCESSOR.public_key)
OTHER_HASH = identity_hash(STRANGER.public_key)
BOTH = [KEYS[0].config, KEYS[1].config]

Sides = tuple[KeyHistory, KeyHistory]


def says(
    replica: int, at: int = NOW, number: int = 1, identity: IdentityKey = IDENTITY, **changes: Any
) -> VerifiedDirectory:
    """What a replica's process states at that time, as its statement of that number."""
    process = Replica(replica, identity)
    process.sequence = number - 1
    return process.states(at, **changes)


def between(left: KeyHistory, right: KeyHistory) -> Comparison:
    return compare({"left": left, "right": right})


def kinds(comparison: Comparison) -> set[Kind]:
    return {each.kind for each in comparison.differences}


def a_known_contradiction() -> Sides:
    left = history_of(says(1))
    with pytest.raises(ForkedError):
        left.directories.judge(says(1, expires_at=NOW + 60))
    return left, history_of(says(1))


def two_of_one_number() -> Sides:
    return history_of(says(1)), history_of(says(1, expires_at=NOW + 60))


def a_replica_for_one_side() -> Sides:
    hidden = says(2, NOW - SETTLING), says(1), says(2, NOW + SETTLING, 2)
    return history_of(*hidden), history_of(says(1))


def other_identities() -> Sides:
    return history_of(says(1)), history_of(says(2, identity=STRANGER), identity=STRANGER)


Said = list[VerifiedDirectory]

CHEATS: dict[str, tuple[Kind, Sides | tuple[Said, Said]]] = {
    "two of one number": (Kind.CONTRADICTION, two_of_one_number()),
    "a contradiction that one side knows": (Kind.CONTRADICTION, a_known_contradiction()),
    "numbers against the times": (Kind.ORDER, ([says(1)], [says(1, NOW - 1, 2)])),
    "two signers": (Kind.SIGNER, ([says(1)], [says(2, NOW + 1, 2, replica_id=says(1).replica_id)])),
    "two starts": (Kind.START, ([says(1)], [says(1, NOW + 1, 2, started_at=NOW - 599)])),
    "a key for one side": (Kind.KEY, ([says(1, configs=BOTH)], [says(1, NOW + 1, 2)])),
    "a key swapped for another": (Kind.KEY, ([says(1)], [says(1, NOW + 2_999, 2, configs=BOTH[1:])])),
    "a key that comes and goes": (
        Kind.KEY,
        ([says(1), says(1, NOW + 2, 3)], [says(1, NOW + 1, 2, configs=BOTH)]),
    ),
    "a replica for one side": (Kind.REPLICA, a_replica_for_one_side()),
    "other identities": (Kind.IDENTITY, other_identities()),
    "successors in turn": (
        Kind.SUCCESSOR,
        (
            [says(1, next_identity_hash=HASH), says(1, NOW + 2, 3, next_identity_hash=HASH)],
            [says(1, NOW + 1, 2)],
        ),
    ),
    "two successors at once": (
        Kind.SUCCESSOR,
        ([says(1, next_identity_hash=HASH)], [says(2, next_identity_hash=OTHER_HASH)]),
    ),
    "a successor for one side": (
        Kind.SUCCESSOR,
        (
            [says(1, next_identity_hash=HASH), says(1, NOW + ROLLOUT + 1, 2, next_identity_hash=HASH)],
            [says(2), says(2, NOW + ROLLOUT + 1, 2)],
        ),
    ),
}


def sides(shown: Sides | tuple[Said, Said]) -> Sides:
    left, right = (each if isinstance(each, KeyHistory) else history_of(*each) for each in shown)
    return left, right


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheat_is_found_from_either_side(cheat: str) -> None:
    kind, shown = CHEATS[cheat]
    left, right = sides(shown)
    assert kind in kinds(between(left, right))
    assert kind in kinds(between(right, left))
    for found in between(left, right).differences if kind is Kind.CONTRADICTION else ():
        assert found.proof is not None
        verify_proof(found.proof, found.identity)


def test_every_kind_of_difference_has_a_cheat() -> None:
    assert {kind for kind, _ in CHEATS.values()} == set(Kind)


def test_three_sides_are_compared() -> None:
    left, right = two_of_one_number()
    comparison = compare({"honest": history_of(says(2)), "left": left, "right": right})
    assert [each.kind for each in comparison.differences] == [Kind.CONTRADICTION]
    assert "left was shown one, right the other" in comparison.differences[0].text


def followed_to_the_successor() -> Sides:
    replica, new = Replica(1), Replica(2, SUCCESSOR, started_at=NOW + 7 * DAY)
    left = KeyHistory(IDENTITY.public_key)
    for at in range(NOW, NOW + 8 * DAY, DAY):
        left.admit(replica.signed(at, next_identity_hash=HASH), at)
    left.admit(new.signed(NOW + 7 * DAY), NOW + 7 * DAY)
    return left, history_of(new.states(NOW + 7 * DAY), identity=SUCCESSOR)


HONEST: dict[str, Sides | tuple[Said, Said]] = {
    "rotated": (
        [says(1), says(1, NOW + 9, 2, configs=BOTH)],
        [says(1, NOW + 3_000, 3, configs=BOTH[1:])],
    ),
    "restarted": ([says(1)], [says(2, NOW + 60, started_at=NOW + 60)]),
    "just started": ([says(2), says(1), says(2, NOW + 2 * SETTLING, 2)], [says(1, NOW + SETTLING - 1, 2)]),
    "just stopped": (
        [says(2, NOW - 2 * SETTLING), says(2, NOW, 2), says(1, NOW, 2)],
        [says(1, NOW - SETTLING + 1)],
    ),
    "followed to the successor": followed_to_the_successor(),
    "announced replica by replica": (
        [
            says(1),
            says(1, NOW + 60, 2, next_identity_hash=HASH),
            says(1, NOW + ROLLOUT, 3, next_identity_hash=HASH),
        ],
        [says(2), says(2, NOW + ROLLOUT, 2), says(2, NOW + ROLLOUT + 60, 3, next_identity_hash=HASH)],
    ),
}


@pytest.mark.parametrize("operation", HONEST)
def test_honest_operation_is_not_reported(operation: str) -> None:
    left, right = sides(HONEST[operation])
    comparison = between(left, right)
    assert comparison.differences == between(right, left).differences == ()
    if operation in ("rotated", "just started"):
        starting = (says(2).replica_id,) if operation == "just started" else ()
        assert comparison.unsettled == starting, "what may be starting is unsettled"


@pytest.mark.parametrize(("later", "unsettled"), [(SETTLING, 1), (SETTLING + 1, 0)])
def test_replica_that_stopped_before_the_other_side_looked_is_settled(later: int, unsettled: int) -> None:
    comparison = between(history_of(says(1), says(2)), history_of(says(2, NOW + later, 2)))
    assert comparison.differences == ()
    assert len(comparison.unsettled) == unsettled


def test_following_a_successor_alone_is_a_difference() -> None:
    left, _ = followed_to_the_successor()
    right = history_of(says(1, NOW + 7 * DAY))
    assert Kind.IDENTITY in kinds(between(left, right))
    assert Kind.IDENTITY in kinds(between(right, left))


def test_replicas_shown_in_one_fetch_are_counted() -> None:
    """One of them says nothing, and many say much."""
    first, last = says(1), says(1, NOW + 9_000, 2)
    fleeting = [says(number, NOW + number * 600) for number in range(2, 12)]
    comparison = between(history_of(first, *fleeting, last), history_of(first, last))
    assert comparison.differences == ()
    assert (comparison.passing, comparison.unsettled) == (10, ())


def test_replica_that_left_the_log_is_unsettled() -> None:
    left, right = a_replica_for_one_side()
    right.directories.complete_since = NOW - SETTLING + 1
    assert between(left, right).differences == ()
    assert len(between(left, right).unsettled) == 1
