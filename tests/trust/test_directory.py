"""Key directories as a client judges them: each refusal with its own sentence, and what history adds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import SealingKey
from blindrelay.trust import (
    BadDelegationError,
    BadSignatureError,
    DirectoryError,
    DirectoryHistory,
    DirectorySigner,
    ForeignIdentityError,
    ForkedError,
    FutureDirectoryError,
    IdentityKey,
    MalformedDirectoryError,
    RolledBackError,
    StaleDirectoryError,
    UnknownSuiteError,
    VerifiedDirectory,
    read_directory,
    verify_directory,
)
from blindrelay.v1.keys_pb2 import KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import MAX_CONFIGS, REPLAY_WINDOW

from .replicas import DAY, IDENTITY, NOW, STRANGER

KEY = SealingKey.generate(NOW - 600, NOW + 3_000)


@dataclass
class Replica:
    """A bridge's replica, to be spoilt one line at a time."""

    identity: IdentityKey = IDENTITY
    signer: DirectorySigner = field(default_factory=lambda: DirectorySigner(b"\x01" * 32))
    not_before: int = NOW - DAY
    not_after: int = NOW + 7 * DAY
    directory: KeyDirectory = field(
        default_factory=lambda: KeyDirectory(
            identity=IDENTITY.public_key,
            replica_id=bytes(16),
            sequence=5,
            issued_at=NOW,
            expires_at=NOW + 7_200,
            configs=[KEY.config],
        )
    )

    announced: bytes | None = None
    """What the delegation says of a successor, if not what the directory does."""

    def sign(self) -> SignedKeyDirectory:
        announced = self.directory.next_identity_hash if self.announced is None else self.announced
        delegation = self.identity.delegate(
            self.signer.public_key, self.not_before, self.not_after, announced
        )
        return self.signer.sign(self.directory, delegation)

    def verified(self, now: int = NOW) -> VerifiedDirectory:
        return verify_directory(self.sign(), IDENTITY.public_key, now)


@pytest.fixture
def replica() -> Replica:
    return Replica()


def test_what_no_signature_covers_is_not_kept(replica: Replica) -> None:
    """A relay could fill a client's history with it, and so have what it holds forgotten."""
    padded = replica.sign()
    padded.MergeFromString(b"\xaa\x3e\x80\x80\x01" + bytes(16_384))
    assert len(padded.SerializeToString()) > 16_384
    verified = verify_directory(padded, IDENTITY.public_key, NOW)
    assert verified.signed == replica.verified().signed


def test_a_delegation_of_another_time_is_not_put_beside_a_directory(replica: Replica) -> None:
    """Accepted now, it could not be read again: whoever kept it would be locked out by his own history."""
    replica.directory.issued_at, replica.not_before = NOW - 10, NOW + REPLAY_WINDOW - 9
    with pytest.raises(BadDelegationError):
        replica.verified()
    replica.not_before -= 1
    assert read_directory(SignedKeyDirectory.FromString(replica.verified().signed), IDENTITY.public_key)


@pytest.mark.parametrize(
    ("said", "delegated"), [(b"\x02" * 32, b""), (b"", b"\x02" * 32), (b"\x02" * 32, b"\x03" * 32)]
)
def test_only_the_identity_announces_a_successor(replica: Replica, said: bytes, delegated: bytes) -> None:
    replica.directory.next_identity_hash, replica.announced = said, delegated
    with pytest.raises(BadDelegationError, match="announces another identity"):
        replica.verified()


def test_a_good_directory(replica: Replica) -> None:
    replica.directory.next_identity_hash = b"\x02" * 32
    directory = replica.verified()
    assert (directory.identity, directory.replica_id) == (IDENTITY.public_key, bytes(16))
    assert (directory.sequence, directory.issued_at, directory.expires_at) == (5, NOW, NOW + 7_200)
    assert directory.next_identity_hash == b"\x02" * 32
    (key,) = directory.keys
    assert (key.identity, key.key_id, key.config) == (IDENTITY.public_key, KEY.key_id, KEY.config)
    assert SignedKeyDirectory.FromString(directory.signed) == replica.sign()


def test_a_key_takes_what_is_issued_in_its_span(replica: Replica) -> None:
    (key,) = replica.verified().keys
    assert all(key.takes(NOW + offset) for offset in (-600, 0, 3_000))
    assert not any(key.takes(NOW + offset) for offset in (-610, 3_010))


def config(**changes: Any) -> bytes:
    made = KeyConfig.FromString(KEY.config)
    for name, value in changes.items():
        setattr(made, name, value)
    return made.SerializeToString(deterministic=True)


Spoil = Callable[[KeyDirectory], object]

MALFORMED: dict[str, tuple[Spoil, str]] = {
    "replica_id": (lambda made: setattr(made, "replica_id", bytes(15)), "replica_id is not 16 bytes"),
    "next_identity": (lambda made: setattr(made, "next_identity_hash", b"x"), "not 32 bytes"),
    "no key": (lambda made: made.ClearField("configs"), f"has 1 to {MAX_CONFIGS} keys"),
    "nine keys": (lambda made: made.configs.extend([KEY.config] * 8), f"has 1 to {MAX_CONFIGS} keys"),
    "no lifetime": (lambda made: setattr(made, "expires_at", NOW), "lifetime is not between"),
    "backwards": (lambda made: setattr(made, "expires_at", NOW - 1), "lifetime is not between"),
    "long lifetime": (lambda made: setattr(made, "expires_at", NOW + 2 * DAY + 1), "lifetime is not between"),
    "config": (lambda made: made.configs.append(b"\x0a"), "config is not a protobuf message"),
    "public key": (lambda made: made.configs.append(config(public_key=b"x")), "not 1,216 bytes"),
    "span": (lambda made: made.configs.append(config(not_after=NOW - 600)), "not a span"),
    "uneven": (lambda made: made.configs.append(config(not_after=NOW + 1)), "multiples of 10"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_says_how(replica: Replica, case: str) -> None:
    spoil, message = MALFORMED[case]
    spoil(replica.directory)
    with pytest.raises(MalformedDirectoryError, match=re.escape(message)):
        replica.verified()


def test_another_suite_is_named(replica: Replica) -> None:
    replica.directory.configs.append(config(suite=2))
    with pytest.raises(UnknownSuiteError, match="suite 2; this version knows suite 1"):
        replica.verified()


def test_a_key_off_the_field_is_refused_with_its_directory(replica: Replica) -> None:
    """Now, not when an exchange has drawn it."""
    replica.directory.configs.append(config(public_key=b"\xff" * 1_216))
    with pytest.raises(MalformedDirectoryError):
        replica.verified()


@pytest.mark.parametrize("whose", ["both", "directory", "delegation"])
def test_another_bridges_directory_is_refused(replica: Replica, whose: str) -> None:
    if whose != "directory":
        replica.identity = STRANGER
    if whose != "delegation":
        replica.directory.identity = STRANGER.public_key
    with pytest.raises(ForeignIdentityError, match="another bridge's"):
        replica.verified()


def test_a_delegation_that_the_identity_did_not_sign(replica: Replica) -> None:
    signed = replica.sign()
    for forged in (bytes(64), b"", STRANGER.delegate(replica.signer.public_key, 0, NOW).signature):
        signed.delegation_signature = forged
        with pytest.raises(BadDelegationError, match="did not sign"):
            verify_directory(signed, IDENTITY.public_key, NOW)


@pytest.mark.parametrize(("not_after", "good"), [(NOW, True), (NOW - 1, False)])
def test_the_end_of_a_delegation(replica: Replica, not_after: int, good: bool) -> None:
    replica.not_after = not_after
    check(replica, good, BadDelegationError, "expired, or this machine's clock is ahead")


@pytest.mark.parametrize(("ahead", "good"), [(REPLAY_WINDOW, True), (REPLAY_WINDOW + 1, False)])
def test_the_beginning_of_a_delegation(replica: Replica, ahead: int, good: bool) -> None:
    replica.not_before = NOW + ahead
    check(replica, good, BadDelegationError, "not valid yet, or this machine's clock is behind")


def test_a_directory_outlives_its_delegation_in_no_case(replica: Replica) -> None:
    """What the identity allowed until then cannot be used after it."""
    replica.not_after = NOW + 60
    assert replica.verified().expires_at <= NOW + 60


@pytest.mark.parametrize(("age", "good"), [(REPLAY_WINDOW, True), (REPLAY_WINDOW + 1, False)])
def test_the_age_of_a_directory(replica: Replica, age: int, good: bool) -> None:
    replica.directory.issued_at = NOW - age
    check(replica, good, StaleDirectoryError, "issued 5 min 1 s ago: this machine's clock is ahead")


@pytest.mark.parametrize(("ahead", "good"), [(REPLAY_WINDOW, True), (REPLAY_WINDOW + 1, False)])
def test_a_directory_dated_ahead(replica: Replica, ahead: int, good: bool) -> None:
    replica.directory.issued_at = NOW + ahead
    check(replica, good, FutureDirectoryError, "dated 5 min 1 s ahead: this machine's clock is behind")


@pytest.mark.parametrize(("left", "good"), [(0, True), (-1, False)])
def test_the_end_of_a_directory(replica: Replica, left: int, good: bool) -> None:
    replica.directory.issued_at, replica.directory.expires_at = NOW - 60, NOW + left
    check(replica, good, StaleDirectoryError, "the relay serves an old directory")


def check(replica: Replica, good: bool, error: type[DirectoryError], message: str) -> None:
    if good:
        assert replica.verified().sequence == 5
        return
    with pytest.raises(error, match=re.escape(message)):
        replica.verified()


@pytest.mark.parametrize(
    ("hours", "error", "message"),
    [(1, StaleDirectoryError, "1 h 0 min ago"), (-23, FutureDirectoryError, "23 h 0 min ahead")],
)
def test_a_clock_that_is_far_off_is_told_by_how_much(
    replica: Replica, hours: int, error: type[DirectoryError], message: str
) -> None:
    with pytest.raises(error, match=message):
        replica.verified(NOW + hours * 3_600)


@pytest.mark.parametrize(
    ("hours", "error"), [(1, StaleDirectoryError), (5, StaleDirectoryError), (-1, FutureDirectoryError)]
)
def test_a_clock_that_is_off_is_told_so_even_by_a_short_delegation(
    replica: Replica, hours: int, error: type[DirectoryError]
) -> None:
    """A bridge delegates for one directory at a time: its signed issued_at is the better clock."""
    replica.not_before, replica.not_after = NOW, NOW + 7_200
    with pytest.raises(error):
        replica.verified(NOW + hours * 3_600)


def test_a_signature_of_anybody_else(replica: Replica) -> None:
    signed = replica.sign()
    other = DirectorySigner.generate().sign(
        replica.directory, IDENTITY.delegate(replica.signer.public_key, NOW, NOW)
    )
    for forged in (other.signature, signed.delegation_signature, bytes(64), b"", signed.signature + b"x"):
        signed.signature = forged
        with pytest.raises(BadSignatureError, match="does not verify"):
            verify_directory(signed, IDENTITY.public_key, NOW)


@given(st.data())
def test_any_flipped_bit_is_a_typed_error(data: st.DataObject) -> None:
    """In what is signed and in the signatures; the wrapper's own framing is not the core's."""
    signed = Replica().sign()
    name = data.draw(st.sampled_from([each.name for each, _ in signed.ListFields()]))
    value = bytearray(getattr(signed, name))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    setattr(signed, name, bytes(value))
    with pytest.raises(DirectoryError):
        verify_directory(signed, IDENTITY.public_key, NOW)


@given(st.builds(SignedKeyDirectory, directory=st.binary(), delegation=st.binary()))
def test_any_bytes_are_a_typed_error(signed: SignedKeyDirectory) -> None:
    with pytest.raises(DirectoryError):
        verify_directory(signed, IDENTITY.public_key, NOW)


def numbered(sequence: int, **changes: Any) -> VerifiedDirectory:
    replica = Replica()
    replica.directory.sequence = sequence
    for name, value in changes.items():
        setattr(replica.directory, name, value)
    return replica.verified()


def test_a_lower_sequence_is_a_rollback_and_changes_nothing() -> None:
    history = DirectoryHistory()
    history.judge(numbered(5))
    history.judge(numbered(7))
    for older in (6, 5, 0):
        with pytest.raises(RolledBackError, match="older key directory"):
            history.judge(numbered(older))
    history.judge(numbered(7))


def test_two_directories_of_one_sequence_are_a_fork_with_its_proof() -> None:
    history = DirectoryHistory()
    first, second = numbered(5), numbered(5, issued_at=NOW + 1)
    history.judge(first)
    with pytest.raises(ForkedError, match="two different key directories") as caught:
        history.judge(second)
    assert caught.value.proof == (first.signed, second.signed)
    for each in caught.value.proof:
        assert verify_directory(SignedKeyDirectory.FromString(each), IDENTITY.public_key, NOW).sequence == 5


def test_the_same_directory_again_is_no_fork_even_delegated_anew() -> None:
    history, renewed = DirectoryHistory(), Replica(not_after=NOW + 8 * DAY)
    history.judge(numbered(5))
    history.judge(numbered(5))
    history.judge(renewed.verified())


def test_each_replica_has_a_history_of_its_own() -> None:
    history = DirectoryHistory()
    history.judge(numbered(9))
    history.judge(numbered(1, replica_id=b"\x01" * 16))
    with pytest.raises(RolledBackError):
        history.judge(numbered(8))


def test_what_has_expired_is_forgotten_and_nothing_else() -> None:
    history = DirectoryHistory()
    history.judge(numbered(5, expires_at=NOW + 60))
    history.forget_before(NOW + 60)
    with pytest.raises(RolledBackError):
        history.judge(numbered(4))
    history.forget_before(NOW + 61)
    history.judge(numbered(4))


def test_after_a_fork_nothing_of_that_replica_is_taken_any_more(replica: Replica) -> None:
    history = DirectoryHistory()
    first = replica.verified()
    history.judge(first)
    replica.directory.expires_at += 1
    with pytest.raises(ForkedError):
        history.judge(replica.verified())
    replica.directory.sequence += 1
    for later in (first, replica.verified()):
        with pytest.raises(ForkedError):
            history.judge(later)
    assert len(history.proofs) == 1
    other = Replica()
    other.directory.replica_id = bytes(15) + b"\x01"
    history.judge(other.verified())


def test_a_key_for_more_than_two_days_is_refused(replica: Replica) -> None:
    config = KeyConfig.FromString(KEY.config)
    config.not_after = config.not_before + 172_810
    replica.directory.configs[0] = config.SerializeToString()
    with pytest.raises(MalformedDirectoryError, match="longer than two days"):
        replica.verified()
