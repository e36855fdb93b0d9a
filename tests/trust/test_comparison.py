"""Comparing histories: every cheat is reported, and honest operation is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blindrelay.trust import Comparison, ForkedError, KeyHistory, compare, identity_hash, verify_proof
from blindrelay.trust.comparison import ROLLOUT, SETTLING, Kind

from .replicas import DAY, IDENTITY, KEYS, NOW, STRANGER, SUCCESSOR, Replica, history_of

HASH = identity_hash(SUCCESSOR.public_key)
OTHER_HASH = identity_hash(STRANGER.public_key)
BOTH = [KEYS[0].config, KEYS[1].config]


def between(left: KeyHistory, right: KeyHistory) -> Comparison:
    return compare({"left": left, "right": right})


def kinds(comparison: Comparison) -> set[Kind]:
    return {each.kind for each in comparison.differences}


Sides = tuple[KeyHistory, KeyHistory]


def two_of_one_number() -> Sides:
    liar = Replica()
    return history_of(liar.states()), history_of(liar.states(sequence=1, expires_at=NOW + 60))


def a_contradiction_that_one_side_knows() -> Sides:
    liar = Replica()
    first = liar.states()
    left, right = history_of(first), history_of(first)
    with pytest.raises(ForkedError):
        left.directories.judge(liar.states(sequence=1, expires_at=NOW + 60))
    return left, right


def numbers_against_the_times() -> Sides:
    liar = Replica()
    return history_of(liar.states(NOW)), history_of(liar.states(NOW - 1))


def two_signers() -> Sides:
    replica, thief = Replica(1), Replica(2)
    thief.content["replica_id"] = replica.content["replica_id"]
    return history_of(replica.states(NOW)), history_of(thief.states(NOW + 1, sequence=2))


def two_starts() -> Sides:
    replica = Replica()
    return history_of(replica.states(NOW)), history_of(replica.states(NOW + 1, started_at=NOW - 599))


def a_key_for_one_side() -> Sides:
    replica = Replica()
    return history_of(replica.states(NOW, configs=BOTH)), history_of(replica.states(NOW + 1))


def a_key_swapped_for_another() -> Sides:
    replica = Replica()
    swapped = replica.states(NOW + 2_999, configs=[KEYS[1].config])
    return history_of(replica.states(NOW)), history_of(swapped)


def a_key_that_comes_and_goes() -> Sides:
    replica = Replica()
    first, second, third = replica.states(NOW), replica.states(NOW + 1, configs=BOTH), replica.states(NOW + 2)
    return history_of(first, third), history_of(second)


def a_replica_for_one_side() -> Sides:
    public, hidden = Replica(1), Replica(2)
    left = history_of(hidden.states(NOW - SETTLING), public.states(NOW), hidden.states(NOW + SETTLING))
    return left, history_of(public.states(NOW))


def other_identities() -> Sides:
    stranger = Replica(2, STRANGER)
    return history_of(Replica(1).states()), history_of(stranger.states(), identity=STRANGER)


def successors_in_turn() -> Sides:
    replica = Replica()
    first, second, third = (
        replica.states(NOW + at, next_identity_hash=each) for at, each in enumerate((HASH, b"", HASH))
    )
    return history_of(first, third), history_of(second)


def two_successors_at_once() -> Sides:
    return (
        history_of(Replica(1).states(NOW, next_identity_hash=HASH)),
        history_of(Replica(2).states(NOW, next_identity_hash=OTHER_HASH)),
    )


def a_successor_for_one_side() -> Sides:
    one, other = Replica(1), Replica(2)
    ends = (NOW, NOW + ROLLOUT + 1)
    return (
        history_of(*(one.states(at, next_identity_hash=HASH) for at in ends)),
        history_of(*(other.states(at) for at in ends)),
    )


CHEATS: dict[Callable[[], Sides], Kind] = {
    two_of_one_number: Kind.CONTRADICTION,
    a_contradiction_that_one_side_knows: Kind.CONTRADICTION,
    numbers_against_the_times: Kind.ORDER,
    two_signers: Kind.SIGNER,
    two_starts: Kind.START,
    a_key_for_one_side: Kind.KEY,
    a_key_swapped_for_another: Kind.KEY,
    a_key_that_comes_and_goes: Kind.KEY,
    a_replica_for_one_side: Kind.REPLICA,
    other_identities: Kind.IDENTITY,
    successors_in_turn: Kind.SUCCESSOR,
    two_successors_at_once: Kind.SUCCESSOR,
    a_successor_for_one_side: Kind.SUCCESSOR,
}


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__)
def test_cheat_is_found_from_either_side(cheat: Callable[[], Sides]) -> None:
    left, right = cheat()
    assert CHEATS[cheat] in kinds(between(left, right))
    assert CHEATS[cheat] in kinds(between(right, left))


@pytest.mark.parametrize("cheat", [two_of_one_number, a_contradiction_that_one_side_knows])
def test_contradiction_has_its_proof(cheat: Callable[[], Sides]) -> None:
    found = between(*cheat()).differences[0]
    assert found.proof is not None
    verify_proof(found.proof, found.identity)


def test_three_sides_are_compared() -> None:
    honest = Replica(2).states()
    left, right = two_of_one_number()
    comparison = compare({"honest": history_of(honest), "left": left, "right": right})
    assert [each.kind for each in comparison.differences] == [Kind.CONTRADICTION]
    assert "left was shown one, right the other" in comparison.differences[0].text


def rotated() -> Sides:
    replica = Replica()
    later = NOW + 3_000
    return (
        history_of(replica.states(NOW), replica.states(NOW + 9, configs=BOTH)),
        history_of(replica.states(later, configs=[KEYS[1].config])),
    )


def restarted() -> Sides:
    return history_of(Replica(1).states(NOW)), history_of(Replica(2, started_at=NOW + 60).states(NOW + 60))


def just_started() -> Sides:
    old, new = Replica(1), Replica(2)
    left = [new.states(NOW), old.states(NOW), new.states(NOW + 2 * SETTLING)]
    return history_of(*left), history_of(old.states(NOW + SETTLING - 1))


def just_stopped() -> Sides:
    old, gone = Replica(1), Replica(2)
    first, last = gone.states(NOW - 2 * SETTLING), gone.states(NOW)
    right = history_of(old.states(NOW - SETTLING + 1))
    return history_of(first, last, old.states(NOW)), right


def followed_to_the_successor() -> Sides:
    replica, new = Replica(1), Replica(2, SUCCESSOR, started_at=NOW + 7 * DAY)
    left = KeyHistory(IDENTITY.public_key)
    for at in range(NOW, NOW + 8 * DAY, DAY):
        left.admit(replica.signed(at, next_identity_hash=HASH), at)
    left.admit(new.signed(NOW + 7 * DAY), NOW + 7 * DAY)
    return left, history_of(new.states(NOW + 7 * DAY), identity=SUCCESSOR)


def announced_in_turn() -> Sides:
    first, second = Replica(1), Replica(2)
    left = [first.states(NOW), first.states(NOW + 60, next_identity_hash=HASH)]
    right = [
        second.states(NOW),
        second.states(NOW + ROLLOUT),
        second.states(NOW + ROLLOUT + 60, next_identity_hash=HASH),
    ]
    return history_of(*left, first.states(NOW + ROLLOUT, next_identity_hash=HASH)), history_of(*right)


HONEST = [rotated, restarted, just_started, just_stopped, followed_to_the_successor, announced_in_turn]


@pytest.mark.parametrize("operation", HONEST, ids=lambda operation: operation.__name__)
def test_honest_operation_is_not_reported(operation: Callable[[], Sides]) -> None:
    left, right = operation()
    assert between(left, right).differences == ()
    assert between(right, left).differences == ()


@pytest.mark.parametrize(("later", "unsettled"), [(0, 1), (SETTLING, 1), (SETTLING + 1, 0)])
def test_replica_that_stopped_before_the_other_side_looked_is_settled(later: int, unsettled: int) -> None:
    gone, stays = Replica(1), Replica(2)
    left = history_of(gone.states(NOW), stays.states(NOW))
    comparison = between(left, history_of(stays.states(NOW + later)))
    assert comparison.differences == ()
    assert comparison.unsettled == (gone.content["replica_id"],) * unsettled


def test_following_a_successor_alone_is_a_difference() -> None:
    left, _ = followed_to_the_successor()
    right = history_of(Replica(1).states(NOW + 7 * DAY))
    assert Kind.IDENTITY in kinds(between(left, right))
    assert Kind.IDENTITY in kinds(between(right, left))


def test_replicas_shown_in_one_fetch_are_counted() -> None:
    """One of them says nothing, and many say much."""
    stays = Replica(1)
    first, last = stays.states(NOW), stays.states(NOW + 9_000)
    fleeting = [Replica(number).states(NOW + number * 600) for number in range(2, 12)]
    comparison = between(history_of(first, *fleeting, last), history_of(first, last))
    assert comparison.differences == ()
    assert (comparison.passing, comparison.unsettled) == (10, ())


def test_replica_that_left_the_log_is_unsettled() -> None:
    left, right = a_replica_for_one_side()
    right.directories.complete_since = NOW - SETTLING + 1
    assert between(left, right).differences == ()
    assert len(between(left, right).unsettled) == 1
