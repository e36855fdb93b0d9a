"""A client's history of directories: what it refuses, what it logs, and what it forgets."""

from __future__ import annotations

import pytest

from blindrelay.trust import DirectoryHistory, ForkedError, RolledBackError, VerifiedDirectory, read_directory
from blindrelay.trust.directory_history import KEPT_SECONDS, MAX_LOOKS, MAX_SHOWN, MAX_SHOWN_SIZE, RELAY_LAG

from .replicas import DAY, KEYS, NOW, Replica


def log_of(*directories: VerifiedDirectory) -> DirectoryHistory:
    history = DirectoryHistory()
    for each in directories:
        history.judge(each)
    return history


def sequences(history: DirectoryHistory) -> list[int]:
    return [each.sequence for each in history.shown]


def in_the_next_process(history: DirectoryHistory) -> DirectoryHistory:
    return DirectoryHistory(history.shown)


def test_older_directory_is_a_rollback_and_changes_nothing() -> None:
    """Each replica is judged apart."""
    replica = Replica()
    oldest, older, newer = replica.states(NOW - 2), replica.states(NOW - 1), replica.states(NOW)
    history = log_of(oldest, newer)
    for each in (older, oldest):
        with pytest.raises(RolledBackError, match="older key directory"):
            history.judge(each)
    history.judge(newer)
    history.judge(Replica(2).states(sequence=1))


def test_fork_has_a_proof_and_is_never_forgiven() -> None:
    """Also if newer directories came between the two."""
    replica = Replica()
    first, second, third = replica.states(), replica.states(sequence=1, expires_at=NOW + 60), replica.states()
    history = log_of(first, third)
    for each in (second, first, third):
        with pytest.raises(ForkedError, match="two different key directories") as caught:
            history.judge(each)
        assert caught.value.proof == (first.signed, second.signed)
    assert len(history.proofs) == 1
    history.judge(Replica(2).states())


def test_same_directory_under_a_renewed_delegation_is_no_fork() -> None:
    replica = Replica()
    signed = replica.signed()
    history = log_of(read_directory(signed, replica.identity.public_key))
    renewed = replica.delegation(NOW + 1)
    signed.delegation, signed.delegation_signature = renewed.delegation, renewed.signature
    history.judge(read_directory(signed, replica.identity.public_key))


def test_only_expired_directories_are_forgotten() -> None:
    replica = Replica()
    older, newer = replica.states(NOW - 1), replica.states(NOW, expires_at=NOW + 60)
    history = log_of(newer)
    history.forget_before(NOW + 60)
    with pytest.raises(RolledBackError):
        history.judge(older)
    history.forget_before(NOW + 61)
    history.judge(older)
    history.forget_before(NOW + 365 * DAY)
    assert sequences(history) == [1, 2], "a wrong clock does not empty the log"


def test_rollback_and_fork_are_noticed_in_the_next_process() -> None:
    replica = Replica()
    older, newer = replica.states(NOW - RELAY_LAG - 1), replica.states(NOW)
    with pytest.raises(RolledBackError):
        in_the_next_process(log_of(newer)).judge(older)
    with pytest.raises(ForkedError):
        in_the_next_process(log_of(older, newer)).judge(replica.states(sequence=2, expires_at=NOW + 60))


def test_relay_of_another_process_may_be_two_minutes_ahead() -> None:
    """This process has seen only what its own relay served."""
    replica = Replica()
    older, newer = replica.states(NOW - RELAY_LAG), replica.states(NOW)
    history = in_the_next_process(log_of(newer))
    history.judge(older)
    history.judge(newer)
    with pytest.raises(RolledBackError):
        history.judge(older)
    again = in_the_next_process(history)
    assert again.shown == [older, newer]
    again.continue_from(history)
    with pytest.raises(RolledBackError):
        again.judge(older)


def test_log_has_the_newest_and_the_first_with_each_set_of_keys() -> None:
    replica, both = Replica(), [KEYS[0].config, KEYS[1].config]
    history = log_of(
        *(replica.states(NOW + at) for at in range(3)),
        *(replica.states(NOW + at, configs=both) for at in range(3, 6)),
        *(replica.states(NOW + at, configs=both, next_identity_hash=bytes(32)) for at in range(6, 9)),
    )
    assert sequences(history) == [1, 4, 7, 9]


def test_log_ends_eight_days_before_the_newest_directory() -> None:
    history = log_of(Replica(1).states(NOW), Replica(2).states(NOW + 1))
    last = Replica(3)
    history.judge(last.states(NOW + KEPT_SECONDS))
    assert (len(history.shown), history.complete_since) == (3, 0)
    history.judge(last.states(NOW + KEPT_SECONDS + 1))
    assert [each.replica_id[-1] for each in history.shown] == [2, 3, 3]
    assert history.complete_since == NOW + 1


def test_log_is_limited_in_number_and_keeps_the_newest_of_each_replica() -> None:
    first = Replica(1)
    history = log_of(first.states(NOW - 50), first.states(NOW - 49, next_identity_hash=bytes(32)))
    for number in range(MAX_SHOWN - 1):
        history.judge(Replica(number + 2).states(NOW + number))
    assert (len(history.shown), history.complete_since) == (MAX_SHOWN, 0)
    assert [each.sequence for each in history.shown if each.replica_id[-1] == 1] == [2]
    history.judge(Replica(200).states(NOW + 200))
    assert (len(history.shown), history.complete_since) == (MAX_SHOWN, NOW - 48)


def test_log_is_limited_in_bytes() -> None:
    history = DirectoryHistory()
    for number in range(1, 100):
        history.judge(Replica(number).states(NOW + number, configs=[KEYS[0].config] * 8))
    size = sum(len(each.signed) for each in history.shown)
    assert MAX_SHOWN_SIZE - 12_000 < size <= MAX_SHOWN_SIZE
    assert history.shown[-1].replica_id[-1] == 99


def test_looks_are_a_minute_apart_and_limited() -> None:
    replica = Replica()
    history = log_of(*(replica.states(NOW + at) for at in (0, 30, 59, 60, 90, 200)))
    assert history.looked[replica.identity.public_key] == [NOW, NOW + 60, NOW + 200]
    for number in range(MAX_LOOKS):
        history.judge(replica.states(NOW + 1_000 + 60 * number))
    times = history.looked[replica.identity.public_key]
    assert (len(times), times[0]) == (MAX_LOOKS, NOW + 1_000)


def test_history_changes_only_by_what_is_new() -> None:
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
