"""A change of identity is followed only if it was announced for seven days."""

from __future__ import annotations

import pytest

from blindrelay.sealing import SealingKey
from blindrelay.trust import (
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
from blindrelay.v1.keys_pb2 import SignedKeyDirectory

from .replicas import DAY, IDENTITY, NOW, STRANGER, SUCCESSOR, Replica, admit_all

HASH = identity_hash(SUCCESSOR.public_key)
OTHER_HASH = identity_hash(STRANGER.public_key)


@pytest.fixture
def history() -> KeyHistory:
    return KeyHistory(IDENTITY.public_key)


@pytest.fixture
def old() -> Replica:
    return Replica(1)


@pytest.fixture
def new() -> Replica:
    return Replica(2, SUCCESSOR)


def announce(history: KeyHistory, replica: Replica, *days: float, said: bytes = HASH) -> None:
    """Admits directories of these days, and of every third day between two of them."""
    times = [NOW + round(day * DAY) for day in days]
    for time, following in zip(times, (*times[1:], times[-1]), strict=True):
        for at in range(time, following, 3 * DAY):
            history.admit(replica.signed(at, next_identity_hash=said), at)
    history.admit(replica.signed(times[-1], next_identity_hash=said), times[-1])


def follow(history: KeyHistory, new: Replica, day: float) -> None:
    at = NOW + round(day * DAY)
    history.admit(new.signed(at, started_at=at), at)


def in_the_next_process(history: KeyHistory) -> KeyHistory:
    return decode_history(encode_history(history))


UNANNOUNCED, SECOND = "which was not announced", 1 / DAY

Announced = tuple[bytes, tuple[float, ...]]
CASES: dict[str, tuple[list[Announced], float, str | None]] = {
    "seven days": ([(HASH, (0, 7))], 7, None),
    "a second less": ([(HASH, (0, 7 - SECOND))], 7 - SECOND, r"604,799 of 604,800 seconds\. Wait, or ask"),
    "not announced": ([(b"", (0, 7))], 7, UNANNOUNCED),
    "another identity": ([(OTHER_HASH, (0, 7))], 7, UNANNOUNCED),
    "withdrawn": ([(HASH, (0, 6)), (b"", (6.5,))], 7, UNANNOUNCED),
    "announced again": ([(HASH, (0, 6)), (b"", (6.5,)), (HASH, (7, 13.9))], 14, "596,160 of 604,800"),
    "announced again for seven days": ([(HASH, (0, 6)), (b"", (6.5,)), (HASH, (7, 14))], 14, None),
    "another in between": ([(HASH, (0, 3)), (OTHER_HASH, (4,)), (HASH, (5, 8))], 8, "259,200 of 604,800"),
    "withheld for a month": ([(HASH, (0,))], 30, "0 of 604,800"),
    "three days of silence": ([(HASH, (0, 5)), (HASH, (8,))], 8, None),
    "longer silence": ([(HASH, (0, 5)), (HASH, (8 + SECOND,))], 8 + SECOND, "0 of 604,800"),
    "a clock that steps back": ([(HASH, (7,)), (HASH, (0, 0.1))], 0.1, "8,640 of 604,800"),
    "seven days after a step back": ([(HASH, (7,)), (HASH, (0, 7))], 7, None),
}


@pytest.mark.parametrize("case", CASES)
def test_successor_is_followed_only_after_seven_days(case: str, history: KeyHistory, new: Replica) -> None:
    announced, day, refusal = CASES[case]
    for replica, (said, days) in enumerate(announced, start=3):
        announce(history, Replica(replica), *days, said=said)
    if refusal is None:
        follow(history, new, day)
        assert history.identities == (IDENTITY.public_key, SUCCESSOR.public_key)
        return
    with pytest.raises((ForeignIdentityError, EarlySuccessorError), match=refusal) as refused:
        follow(history, new, day)
    assert history.identities == (IDENTITY.public_key,)
    for text in (
        f"pinned is {format_identity(IDENTITY.public_key)}",
        "bridge's operator (not the relay's)",
        f"pin it with bridge={format_identity(SUCCESSOR.public_key)}",
    ):
        assert text in str(refused.value)


def test_both_identities_are_accepted_while_both_sign(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    """The new one once it has signed, and its keys have its identity."""
    announce(history, old, 0, 7)
    at = NOW + 7 * DAY
    forged = new.signed(at, started_at=at)
    forged.signature = bytes(64)
    with pytest.raises(DirectoryError):
        history.admit(forged, at)
    assert history.identities == (IDENTITY.public_key,)
    key = SealingKey.generate(at // 10 * 10, at // 10 * 10 + 600)
    both = [new.signed(at, started_at=at), old.signed(at, next_identity_hash=HASH)]
    admit_all(history, both, at)
    assert history.admit(old.signed(at), at).identity == IDENTITY.public_key
    of_successor = history.admit(new.signed(at, started_at=at, configs=[key.config]), at)
    assert of_successor.identity == of_successor.keys[0].identity == SUCCESSOR.public_key


def test_announcement_and_successor_outlive_the_process(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    announce(history, old, 0, 4)
    history = in_the_next_process(history)
    announce(history, old, 7)
    follow(history, new, 7)
    history = in_the_next_process(history)
    assert history.identities == (IDENTITY.public_key, SUCCESSOR.public_key)
    follow(history, new, 30)
    history.admit(old.signed(NOW + 30 * DAY), NOW + 30 * DAY)


def test_withdrawal_in_the_same_response_counts_first(
    history: KeyHistory, old: Replica, new: Replica
) -> None:
    announce(history, old, 0, 7)
    at = NOW + 7 * DAY
    withdrawn, successor = history.in_order([new.signed(at, started_at=at), old.signed(at)])
    history.admit(withdrawn, at)
    with pytest.raises(ForeignIdentityError):
        history.admit(successor, at)


def test_replicas_that_disagree_announce_nothing(history: KeyHistory, old: Replica, new: Replica) -> None:
    silent = Replica(3)
    for day in range(9):
        at = NOW + day * DAY
        both = [silent.signed(at), old.signed(at, next_identity_hash=HASH)]
        admit_all(history, both if day % 2 else reversed(both), at)
    with pytest.raises(DirectoryError):
        follow(history, new, 9)


def test_clocks_of_replicas_may_differ(history: KeyHistory, old: Replica, new: Replica) -> None:
    behind = Replica(3)
    announce(history, old, 0)
    for day in range(1, 8):
        at = NOW + day * DAY
        history.admit(old.signed(at + 290, next_identity_hash=HASH), at)
        history.admit(behind.signed(at - 290, next_identity_hash=HASH), at)
    follow(history, new, 7)


def test_successor_of_a_successor_is_followed(history: KeyHistory, old: Replica, new: Replica) -> None:
    announce(history, old, 0, 7)
    follow(history, new, 7)
    third = IdentityKey(b"\x09" * 32)
    last, third_hash = Replica(4, third), identity_hash(third.public_key)
    announce(history, old, 8, 16, said=third_hash)  # the old identity no longer decides
    with pytest.raises(ForeignIdentityError) as refused:
        follow(history, last, 16)
    assert format_identity(SUCCESSOR.public_key) in str(refused.value)
    announce(history, new, 16, 23, said=third_hash)
    follow(history, last, 23)
    assert history.identities[1:] == (SUCCESSOR.public_key, third.public_key)


def test_directory_without_an_identity_is_malformed(history: KeyHistory) -> None:
    nameless = SignedKeyDirectory(delegation=b"", directory=b"")
    assert history.in_order([nameless]) == [nameless]
    with pytest.raises(MalformedDirectoryError, match="identity in a delegation is not 32 bytes"):
        history.admit(nameless, NOW)
