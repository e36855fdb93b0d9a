"""The log of what was shown: what it keeps, what it forgets, and how it judges what others learnt."""

from __future__ import annotations

import pytest

from blindrelay.trust import DirectoryHistory, ForkedError, RolledBackError, VerifiedDirectory
from blindrelay.trust.directory_history import KEPT_SECONDS, MAX_LOOKS, MAX_SHOWN, MAX_SHOWN_SIZE, RELAY_LAG

from .replicas import DAY, KEYS, NOW, Replica


def log_of(*directories: VerifiedDirectory) -> DirectoryHistory:
    history = DirectoryHistory()
    for each in directories:
        history.judge(each)
    return history


def sequences(history: DirectoryHistory) -> list[int]:
    return [each.sequence for each in history.shown]


def test_the_newest_is_kept_and_the_first_with_each_set_of_keys() -> None:
    replica, both = Replica(), [KEYS[0].config, KEYS[1].config]
    history = log_of(
        *(replica.states(NOW + at) for at in range(3)),
        *(replica.states(NOW + at, configs=both) for at in range(3, 6)),
        replica.states(NOW + 6, configs=both, next_identity_hash=bytes(32)),
        replica.states(NOW + 7, configs=both, next_identity_hash=bytes(32)),
        replica.states(NOW + 8, configs=both, next_identity_hash=bytes(32)),
    )
    assert sequences(history) == [1, 4, 7, 9]


def test_the_log_ends_eight_days_before_the_newest_directory() -> None:
    history = log_of(Replica(1).states(NOW), Replica(2).states(NOW + 1))
    last = Replica(3)
    history.judge(last.states(NOW + KEPT_SECONDS))
    assert len(history.shown) == 3
    assert history.complete_since == 0
    history.judge(last.states(NOW + KEPT_SECONDS + 1))
    assert [each.replica_id[-1] for each in history.shown] == [2, 3, 3]
    assert history.complete_since == NOW + 1


def test_a_clock_that_is_wrong_once_does_not_empty_the_log() -> None:
    history = log_of(Replica(1).states(NOW))
    history.forget_before(NOW + 365 * DAY)
    assert sequences(history) == [1]


def test_the_log_is_bounded_in_number_and_the_newest_of_each_replica_go_last() -> None:
    first = Replica(1)
    history = log_of(first.states(NOW - 50), first.states(NOW - 49, next_identity_hash=bytes(32)))
    for number in range(MAX_SHOWN - 1):
        history.judge(Replica(number + 2).states(NOW + number))
    assert len(history.shown) == MAX_SHOWN
    assert [each.sequence for each in history.shown if each.replica_id[-1] == 1] == [2]
    assert history.complete_since == 0
    history.judge(Replica(200).states(NOW + 200))
    assert len(history.shown) == MAX_SHOWN
    assert history.complete_since == NOW - 48


def test_the_log_is_bounded_in_bytes() -> None:
    history = DirectoryHistory()
    for number in range(1, 100):
        history.judge(Replica(number).states(NOW + number, configs=[KEYS[0].config] * 8))
    size = sum(len(each.signed) for each in history.shown)
    assert MAX_SHOWN_SIZE - 12_000 < size <= MAX_SHOWN_SIZE
    assert history.shown[-1].replica_id[-1] == 99


def test_looks_are_noted_a_minute_apart_and_bounded() -> None:
    replica = Replica()
    history = log_of(*(replica.states(NOW + at) for at in (0, 30, 59, 60, 90, 200)))
    assert history.looked[replica.identity.public_key] == [NOW, NOW + 60, NOW + 200]
    for number in range(MAX_LOOKS):
        history.judge(replica.states(NOW + 1_000 + 60 * number))
    times = history.looked[replica.identity.public_key]
    assert (len(times), times[0]) == (MAX_LOOKS, NOW + 1_000)


def test_only_what_is_new_wants_to_be_written() -> None:
    replica, history = Replica(), DirectoryHistory()
    first = replica.states()
    history.judge(first)
    assert history.changed
    history.changed = False
    history.judge(first)
    assert not history.changed
    with pytest.raises(ForkedError):
        history.judge(replica.states(sequence=1, expires_at=NOW + 60))
    assert history.changed


def in_the_next_process(history: DirectoryHistory) -> DirectoryHistory:
    return DirectoryHistory(history.shown)


def test_a_rollback_is_noticed_in_the_next_process() -> None:
    replica = Replica()
    older = replica.states(NOW - RELAY_LAG - 1)
    history = in_the_next_process(log_of(replica.states(NOW)))
    with pytest.raises(RolledBackError):
        history.judge(older)


def test_a_fork_is_noticed_in_the_next_process() -> None:
    replica = Replica()
    history = in_the_next_process(log_of(replica.states(), replica.states()))
    with pytest.raises(ForkedError):
        history.judge(replica.states(sequence=2, expires_at=NOW + 60))


def test_a_contradiction_with_an_older_directory_is_a_fork_too() -> None:
    replica = Replica()
    history = log_of(replica.states(), replica.states(), replica.states())
    with pytest.raises(ForkedError):
        history.judge(replica.states(sequence=1, expires_at=NOW + 60))


def test_another_relay_may_be_two_minutes_behind_and_the_same_may_not() -> None:
    """What another process learnt may have come by another relay; what came here came by this one."""
    replica = Replica()
    older = replica.states(NOW - RELAY_LAG)
    newer = replica.states(NOW)
    history = in_the_next_process(log_of(newer))
    history.judge(older)
    history.judge(newer)
    with pytest.raises(RolledBackError):
        history.judge(older)
    assert in_the_next_process(history).shown == [older, newer]


def test_what_was_seen_here_counts_on_when_the_log_is_read_anew() -> None:
    replica = Replica()
    older, newer = replica.states(NOW - 1), replica.states(NOW)
    before = log_of(newer)
    again = in_the_next_process(before)
    again.continue_from(before)
    with pytest.raises(RolledBackError):
        again.judge(older)
