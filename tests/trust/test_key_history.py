"""A change of identity: followed when it was announced for seven days, and in no other case."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from blindrelay.sealing import SealingKey
from blindrelay.trust import (
    ANNOUNCED_SECONDS,
    DirectoryError,
    EarlySuccessorError,
    ForeignIdentityError,
    IdentityKey,
    KeyHistory,
    MalformedDirectoryError,
    decode_history,
    encode_history,
    format_identity,
    identity_hash,
)
from blindrelay.trust.key_history import LONGEST_SILENCE
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

from .replicas import DAY, IDENTITY, NOW, STRANGER, SUCCESSOR, Replica, admit_all

HASH = identity_hash(SUCCESSOR.public_key)


@pytest.fixture
def history() -> KeyHistory:
    return KeyHistory(IDENTITY.public_key)


@pytest.fixture
def old() -> Replica:
    return Replica(1)


@pytest.fixture
def new() -> Replica:
    return Replica(2, SUCCESSOR)


def test_seven_days_are_604800_seconds() -> None:
    assert ANNOUNCED_SECONDS == 604_800


def announce(history: KeyHistory, replica: Replica, *days: float, said: bytes = HASH) -> None:
    """On these days, and where they are far apart, every third in between."""
    for day, after in zip(days, (*days[1:], days[-1]), strict=True):
        for at in range(NOW + int(day * DAY), NOW + int(after * DAY), 3 * DAY):
            history.admit(replica.signed(at, next_identity_hash=said), at)
    last = NOW + int(days[-1] * DAY)
    history.admit(replica.signed(last, next_identity_hash=said), last)


def follow(history: KeyHistory, new: Replica, at: int) -> None:
    history.admit(new.signed(at, started_at=at), at)


def test_an_identity_that_is_not_announced_is_refused_and_named(history: KeyHistory, new: Replica) -> None:
    history.admit(Replica(1).signed(NOW), NOW)
    with pytest.raises(ForeignIdentityError) as refused:
        follow(history, new, NOW)
    for identity in (IDENTITY, SUCCESSOR):
        assert format_identity(identity.public_key) in str(refused.value)
    assert "Ask the bridge's operator (not the relay's)" in str(refused.value)
    assert f"pin it with bridge={format_identity(SUCCESSOR.public_key)}" in str(refused.value)
    assert history.identities == (IDENTITY.public_key,)


@pytest.mark.parametrize(("stood", "followed"), [(604_799, False), (604_800, True)])
def test_the_last_second_of_seven_days(
    stood: int, followed: bool, history: KeyHistory, old: Replica, new: Replica
) -> None:
    announce(history, old, 0, stood / DAY)
    if followed:
        follow(history, new, NOW + stood)
        assert history.identities == (IDENTITY.public_key, SUCCESSOR.public_key)
        return
    with pytest.raises(EarlySuccessorError, match=r"604,799 of 604,800 seconds\. Wait, or ask") as refused:
        follow(history, new, NOW + stood)
    assert format_identity(IDENTITY.public_key) in str(refused.value)
    assert format_identity(SUCCESSOR.public_key) in str(refused.value)
    assert history.identities == (IDENTITY.public_key,)


def test_an_announcement_is_for_the_identity_that_it_names(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    announce(history, old, 0, 7, said=identity_hash(STRANGER.public_key))
    with pytest.raises(ForeignIdentityError):
        follow(history, new, NOW + 7 * DAY)
    assert history.identities == (IDENTITY.public_key,)


def test_both_identities_are_taken_while_both_sign(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 7)
    at = NOW + 7 * DAY
    admit_all(history, [new.signed(at, started_at=at), old.signed(at, next_identity_hash=HASH)], at)
    assert history.admit(old.signed(at), at).identity == IDENTITY.public_key
    assert history.admit(new.signed(at, started_at=at), at).identity == SUCCESSOR.public_key


def test_an_accepted_successor_outlives_the_process(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 7)
    follow(history, new, NOW + 7 * DAY)
    later = decode_history(encode_history(history))
    assert later.identities == (IDENTITY.public_key, SUCCESSOR.public_key)
    follow(later, new, NOW + 30 * DAY)
    later.admit(old.signed(NOW + 30 * DAY), NOW + 30 * DAY)


def test_an_announcement_goes_on_standing_in_the_next_process(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    announce(history, old, 0, 4)
    later = decode_history(encode_history(history))
    announce(later, old, 7)
    follow(later, new, NOW + 7 * DAY)


def test_a_hash_that_was_withdrawn_begins_anew(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 6)
    announce(history, old, 6.5, said=b"")
    with pytest.raises(ForeignIdentityError):
        follow(history, new, NOW + 7 * DAY)
    announce(history, old, 7, 13.9)
    with pytest.raises(EarlySuccessorError):
        follow(history, new, NOW + 14 * DAY)
    announce(history, old, 14)
    follow(history, new, NOW + 14 * DAY)


def test_another_hash_in_between_begins_anew(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 3)
    announce(history, old, 4, said=identity_hash(STRANGER.public_key))
    announce(history, old, 5, 8)
    with pytest.raises(EarlySuccessorError, match="259,200 of 604,800"):
        follow(history, new, NOW + 8 * DAY)


def test_a_withdrawal_in_the_same_answer_counts_wherever_it_stands(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    announce(history, old, 0, 7)
    at = NOW + 7 * DAY
    served = history.in_order([new.signed(at, started_at=at), old.signed(at)])
    history.admit(served[0], at)
    with pytest.raises(ForeignIdentityError):
        history.admit(served[1], at)


def test_two_replicas_that_disagree_announce_nothing(history: KeyHistory, old: Replica, new: Replica) -> None:
    silent = Replica(3)
    for day in range(9):
        at = NOW + day * DAY
        both = [silent.signed(at), old.signed(at, next_identity_hash=HASH)]
        admit_all(history, both if day % 2 else reversed(both), at)
    with pytest.raises(DirectoryError):
        follow(history, new, NOW + 9 * DAY)


def test_a_relay_that_withholds_directories_does_not_make_time_pass(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    """Seen once, and nothing for a month: nobody signed that it stood."""
    announce(history, old, 0)
    with pytest.raises(EarlySuccessorError, match="0 of 604,800"):
        follow(history, new, NOW + 30 * DAY)


@pytest.mark.parametrize(("silence", "followed"), [(LONGEST_SILENCE, True), (LONGEST_SILENCE + 1, False)])
def test_a_long_silence_begins_anew(
    silence: int, followed: bool, history: KeyHistory, old: Replica, new: Replica
) -> None:
    """What was announced in between, or taken back, this client does not know."""
    announce(history, old, 0, 5)
    announce(history, old, 5 + silence / DAY)
    with nullcontext() if followed else pytest.raises(EarlySuccessorError, match="0 of 604,800"):
        follow(history, new, NOW + 5 * DAY + silence)


def test_a_clock_that_steps_back_begins_anew(history: KeyHistory, old: Replica, new: Replica) -> None:
    """The bridge's and this machine's, together: seven days that a wrong clock counted are none."""
    announce(history, old, 7)
    restarted = Replica(3)
    announce(history, restarted, 0, 0.1)
    with pytest.raises(EarlySuccessorError, match="8,640 of 604,800"):
        follow(history, new, NOW + DAY // 10)
    announce(history, restarted, 3, 7)
    follow(history, new, NOW + 7 * DAY)


def test_replicas_clocks_may_differ(history: KeyHistory, old: Replica, new: Replica) -> None:
    behind = Replica(3)
    announce(history, old, 0)
    for day in range(1, 8):
        at = NOW + day * DAY
        history.admit(old.signed(at + 290, next_identity_hash=HASH), at)
        history.admit(behind.signed(at - 290, next_identity_hash=HASH), at)
    follow(history, new, NOW + 7 * DAY)


def test_the_successors_successor(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 7)
    follow(history, new, NOW + 7 * DAY)
    third = IdentityKey(b"\x09" * 32)
    last = Replica(4, third)
    announce(history, old, 8, 16, said=identity_hash(third.public_key))  # no more the old one's to say
    with pytest.raises(ForeignIdentityError) as refused:
        follow(history, last, NOW + 16 * DAY)
    assert format_identity(SUCCESSOR.public_key) in str(refused.value)
    announce(history, new, 16, 23, said=identity_hash(third.public_key))
    follow(history, last, NOW + 23 * DAY)
    assert history.identities[1:] == (SUCCESSOR.public_key, third.public_key)


def test_a_successor_that_signs_nothing_valid_is_not_accepted(history: KeyHistory, old: Replica) -> None:
    announce(history, old, 0, 7)
    at = NOW + 7 * DAY
    forged = Replica(2, SUCCESSOR).signed(at, started_at=at)
    forged.signature = bytes(64)
    with pytest.raises(DirectoryError):
        history.admit(forged, at)
    assert history.identities == (IDENTITY.public_key,)


def test_a_directory_that_names_no_identity_is_malformed(history: KeyHistory) -> None:
    nameless = SignedKeyDirectory(delegation=b"", directory=b"")
    assert history.in_order([nameless]) == [nameless]
    with pytest.raises(MalformedDirectoryError, match="identity is not 32 bytes"):
        history.admit(nameless, NOW)


def test_keys_of_a_successor_are_its_own(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 7)
    at = NOW + 7 * DAY
    key = SealingKey.generate(at // 10 * 10, at // 10 * 10 + 600)
    directory = history.admit(new.signed(at, started_at=at, configs=[key.config]), at)
    assert directory.keys[0].identity == SUCCESSOR.public_key
