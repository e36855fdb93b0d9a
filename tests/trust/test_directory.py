"""How a client judges a fetched directory: what it accepts, and each refusal with its sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.sealing import SealingKey
from blindrelay.trust import (
    BadDelegationError,
    BadSignatureError,
    DirectoryError,
    DirectorySigner,
    ForeignIdentityError,
    FutureDirectoryError,
    IdentityKey,
    MalformedDirectoryError,
    StaleDirectoryError,
    UnknownSuiteError,
    VerifiedDirectory,
    read_directory,
    verify_directory,
)
from blindrelay.v1.keys_pb2 import KeyConfig, KeyDirectory, SignedKeyDirectory
from blindrelay.v1.limits import CLOCK_TOLERANCE

from .replicas import DAY, IDENTITY, NOW, STRANGER

KEY = SealingKey.generate(NOW - 600, NOW + 3_000)
SIGNER = DirectorySigner(b"\x01" * 32)
HASH, OTHER_HASH = b"\x02" * 32, b"\x03" * 32


def signed(
    *,
    by: IdentityKey = IDENTITY,
    not_before: int = NOW - DAY,
    not_after: int = NOW + 7 * DAY,
    delegated_hash: bytes | None = None,
    **changes: Any,
) -> SignedKeyDirectory:
    """A directory with these changes. Its delegation announces the same next identity, or the given one."""
    fields: dict[str, Any] = {
        "identity": IDENTITY.public_key,
        "replica_id": bytes(16),
        "sequence": 5,
        "issued_at": NOW,
        "expires_at": NOW + 7_200,
        "configs": [KEY.config],
    }
    directory = KeyDirectory(**(fields | changes))
    announced = directory.next_identity_hash if delegated_hash is None else delegated_hash
    return SIGNER.sign(directory, by.delegate(SIGNER.public_key, not_before, not_after, announced))


def verified(now: int = NOW, **changes: Any) -> VerifiedDirectory:
    return verify_directory(signed(**changes), IDENTITY.public_key, now)


def config(**changes: Any) -> bytes:
    made = KeyConfig.FromString(KEY.config)
    made.MergeFrom(KeyConfig(**changes))
    return made.SerializeToString(deterministic=True)


def test_directory_is_accepted() -> None:
    directory = verified(next_identity_hash=HASH)
    assert (directory.identity, directory.replica_id) == (IDENTITY.public_key, bytes(16))
    assert (directory.sequence, directory.issued_at, directory.expires_at) == (5, NOW, NOW + 7_200)
    assert directory.next_identity_hash == HASH
    (key,) = directory.keys
    assert (key.identity, key.key_id, key.config) == (IDENTITY.public_key, KEY.key_id, KEY.config)
    assert all(key.takes(NOW + offset) for offset in (-600, 0, 3_000))
    assert not any(key.takes(NOW + offset) for offset in (-610, 3_010))
    kept = SignedKeyDirectory.FromString(directory.signed)
    assert kept == signed(next_identity_hash=HASH)
    assert read_directory(kept, IDENTITY.public_key) == directory, "it can be read at any time"
    assert verified(not_after=NOW + 60).expires_at == NOW + 60, "it ends with its delegation"


LAST_SECONDS: list[dict[str, Any]] = [
    {"not_after": NOW},
    {"not_before": NOW + CLOCK_TOLERANCE},
    {"issued_at": NOW - CLOCK_TOLERANCE},
    {"issued_at": NOW + CLOCK_TOLERANCE},
    {"issued_at": NOW - 60, "expires_at": NOW},
    {"expires_at": NOW + 2 * DAY},
    {"started_at": NOW},
]


@pytest.mark.parametrize("changes", LAST_SECONDS)
def test_last_valid_second_is_accepted(changes: dict[str, Any]) -> None:
    assert verified(**changes).sequence == 5


AHEAD, BEHIND = "this machine's clock is ahead", "this machine's clock is behind"

REFUSED: list[tuple[dict[str, Any], type[DirectoryError], str]] = [
    ({"replica_id": bytes(15)}, MalformedDirectoryError, "replica_id of a key directory is not 16 bytes"),
    ({"next_identity_hash": b"x"}, MalformedDirectoryError, "hash of a key directory is not 32 bytes"),
    ({"configs": []}, MalformedDirectoryError, "does not have 1 to 8 keys"),
    ({"configs": [KEY.config] * 9}, MalformedDirectoryError, "does not have 1 to 8 keys"),
    ({"expires_at": NOW}, MalformedDirectoryError, "lifetime is not between"),
    ({"expires_at": NOW + 2 * DAY + 1}, MalformedDirectoryError, "lifetime is not between"),
    ({"started_at": NOW + 1}, MalformedDirectoryError, "before its replica started"),
    ({"configs": [b"\x0a"]}, MalformedDirectoryError, "config is not a protobuf message"),
    ({"configs": [config(public_key=b"x")]}, MalformedDirectoryError, "not 1,216 bytes"),
    ({"configs": [config(public_key=b"\xff" * 1_216)]}, MalformedDirectoryError, "not a valid X-Wing key"),
    ({"configs": [config(not_after=NOW - 600)]}, MalformedDirectoryError, "validity is empty"),
    ({"configs": [config(not_after=NOW + 1)]}, MalformedDirectoryError, "multiples of 10"),
    ({"configs": [config(not_after=NOW + 172_210)]}, MalformedDirectoryError, "longer than two days"),
    ({"configs": [KEY.config, config(suite=2)]}, UnknownSuiteError, "suite 2; this version knows only suite"),
    ({"by": STRANGER, "identity": STRANGER.public_key}, ForeignIdentityError, "another bridge's"),
    ({"identity": STRANGER.public_key}, ForeignIdentityError, "another bridge's"),
    ({"by": STRANGER}, ForeignIdentityError, "another bridge's"),
    ({"next_identity_hash": HASH, "delegated_hash": b""}, BadDelegationError, "different next identities"),
    ({"delegated_hash": HASH}, BadDelegationError, "different next identities"),
    ({"next_identity_hash": HASH, "delegated_hash": OTHER_HASH}, BadDelegationError, "different next"),
    ({"not_after": NOW - 1}, BadDelegationError, f"expired, or {AHEAD}"),
    ({"not_before": NOW + CLOCK_TOLERANCE + 1}, BadDelegationError, f"not valid yet, or {BEHIND}"),
    # It could not be read again: a relay must not lock a client out with its own history.
    ({"issued_at": NOW - 10, "not_before": NOW + CLOCK_TOLERANCE - 9}, BadDelegationError, "not valid yet"),
    ({"issued_at": NOW - CLOCK_TOLERANCE - 1}, StaleDirectoryError, f"issued 5 min 1 s ago: {AHEAD}"),
    ({"issued_at": NOW - 60, "expires_at": NOW - 1}, StaleDirectoryError, "relay serves an old directory"),
    ({"issued_at": NOW + CLOCK_TOLERANCE + 1}, FutureDirectoryError, f"dated 5 min 1 s ahead: {BEHIND}"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED)
def test_directory_is_refused(changes: dict[str, Any], error: type[DirectoryError], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        verified(**changes)


@pytest.mark.parametrize(
    ("hours", "error", "message"),
    [(5, StaleDirectoryError, "5 h 0 min ago"), (-1, FutureDirectoryError, "1 h 0 min ahead")],
)
def test_wrong_clock_is_named_even_if_the_delegation_is_short(
    hours: int, error: type[DirectoryError], message: str
) -> None:
    """A bridge delegates for one directory at a time; the directory tells more about the clock."""
    with pytest.raises(error, match=message):
        verified(NOW + hours * 3_600, not_before=NOW, not_after=NOW + 7_200)


def test_unsigned_fields_are_not_kept() -> None:
    """With them a relay could fill a client's history, so that it forgets what it holds."""
    padded = signed()
    padded.MergeFromString(b"\xaa\x3e\x80\x80\x01" + bytes(16_384))
    assert len(padded.SerializeToString()) > 16_384
    assert verify_directory(padded, IDENTITY.public_key, NOW).signed == verified().signed


@pytest.mark.parametrize(
    ("field", "error"), [("signature", BadSignatureError), ("delegation_signature", BadDelegationError)]
)
def test_forged_signature_is_refused(field: str, error: type[DirectoryError]) -> None:
    genuine, by_a_stranger = signed(), signed(by=STRANGER)
    swapped = {"signature": genuine.delegation_signature, "delegation_signature": genuine.signature}[field]
    extended = getattr(genuine, field) + b"x"
    for signature in (b"", bytes(64), extended, swapped, by_a_stranger.delegation_signature):
        forged = signed()
        setattr(forged, field, signature)
        with pytest.raises(error):
            verify_directory(forged, IDENTITY.public_key, NOW)


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    altered = signed()
    name = data.draw(st.sampled_from([each.name for each, _ in altered.ListFields()]))
    value = bytearray(getattr(altered, name))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    setattr(altered, name, bytes(value))
    with pytest.raises(DirectoryError):
        verify_directory(altered, IDENTITY.public_key, NOW)
