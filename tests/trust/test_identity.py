"""Identities as text, and the keys that sign."""

from __future__ import annotations

import base64
import hashlib
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from blindrelay.trust import (
    DirectorySigner,
    IdentityError,
    IdentityKey,
    TrustError,
    format_identity,
    identity_groups,
    parse_identity,
    parse_typed_identity,
)
from blindrelay.v1.keys_pb2 import Delegation, KeyDirectory

SEED = bytes(range(32))
ALPHABET = string.ascii_lowercase + "234567"


@given(st.binary(min_size=32, max_size=32))
def test_an_identity_comes_back_from_its_text(identity: bytes) -> None:
    text = format_identity(identity)
    assert text.startswith("br1")
    assert len(text) == 59
    assert set(text[3:]) <= set(ALPHABET)
    assert parse_identity(text) == identity


@pytest.mark.parametrize(
    "identity", [bytes(32), b"\xff" * 32, IdentityKey(SEED).public_key], ids=["zeros", "ones", "key"]
)
def test_every_single_letter_that_is_mistyped_is_noticed(identity: bytes) -> None:
    text = format_identity(identity)
    for place in range(len(text)):
        for letter in set(string.printable) | {"é", "ß", "\u0131", "\u017f", "\uff10"}:
            if letter != text[place]:
                with pytest.raises(IdentityError):
                    parse_identity(text[:place] + letter + text[place + 1 :])


@pytest.mark.parametrize("identity", [b"\x5a" * 32, IdentityKey(SEED).public_key], ids=["even", "key"])
def test_every_letter_left_out_doubled_or_swapped_is_noticed(identity: bytes) -> None:
    text = format_identity(identity)
    for place in range(len(text)):
        slips = {
            text[:place] + text[place + 1 :],
            text[:place] + text[place] + text[place:],
            text[:place] + text[place + 1 : place + 2] + text[place] + text[place + 2 :],
        }
        for slip in slips - {text}:
            with pytest.raises(IdentityError):
                parse_identity(slip)


@given(st.text(max_size=80))
def test_any_text_is_an_identity_or_a_typed_error(text: str) -> None:
    for attempt in (text, "br1" + text, ("br1" + text * 56)[:59]):
        with pytest.raises(IdentityError):
            parse_identity(attempt)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with 'br1'"),
        ("age1abc", "begins with 'br1'"),
        ("br1abc", "has 59 characters, not 6"),
        ("br1" + "1" * 56, "only the letters a to z and the digits 2 to 7"),
        ("br1" + "a" * 56, "checksum is wrong"),
    ],
)
def test_each_refusal_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        parse_identity(text)


def test_an_identity_key_comes_back_from_its_seed() -> None:
    key = IdentityKey.generate()
    again = IdentityKey.from_seed(key.seed)
    assert again.public_key == key.public_key
    assert len(key.seed) == len(key.public_key) == 32
    assert IdentityKey.generate().public_key != key.public_key


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_of_another_size_is_a_typed_error(size: int) -> None:
    with pytest.raises(TrustError):
        IdentityKey.from_seed(bytes(size))


def test_a_delegation_says_who_may_sign_and_when() -> None:
    identity, replica = IdentityKey(SEED), DirectorySigner.generate()
    signed = identity.delegate(replica.public_key, 100, 200)
    delegation = Delegation.FromString(signed.delegation)
    assert (delegation.identity, delegation.signing_key) == (identity.public_key, replica.public_key)
    assert (delegation.not_before, delegation.not_after) == (100, 200)
    VerifyKey(identity.public_key).verify(
        b"blindrelay/v1 delegation\x00" + signed.delegation, signed.signature
    )


def test_a_directory_is_signed_in_its_exact_bytes() -> None:
    identity, replica = IdentityKey(SEED), DirectorySigner(bytes(32))
    delegation = identity.delegate(replica.public_key, 100, 200)
    directory = KeyDirectory(identity=identity.public_key, sequence=3)
    signed = replica.sign(directory, delegation)
    assert signed.directory == directory.SerializeToString(deterministic=True)
    assert (signed.delegation, signed.delegation_signature) == (delegation.delegation, delegation.signature)
    message = b"blindrelay/v1 key directory\x00" + signed.directory
    VerifyKey(replica.public_key).verify(message, signed.signature)


def test_the_checksum_is_a_labelled_hash() -> None:
    """One that a bare SHA-256 of the key, or another project's text, does not meet."""
    public_key = IdentityKey(SEED).public_key
    checksum = hashlib.sha256(b"blindrelay/v1 identity\x00" + public_key).digest()[:3]
    expected = base64.b32encode(public_key + checksum).decode().lower()
    assert format_identity(public_key) == "br1" + expected


@given(st.binary(min_size=32, max_size=32), st.sampled_from([str.upper, str.lower, str.title]))
def test_what_is_read_out_can_be_typed(identity: bytes, spoken: Callable[[str], str]) -> None:
    groups = identity_groups(identity)
    assert "".join(groups.split()) == format_identity(identity)
    for typed in (groups, groups.replace(" ", "-"), groups.replace(" ", "")):
        assert parse_typed_identity(spoken(typed)) == identity


def test_groups_are_two_lines_of_seven() -> None:
    first, second = identity_groups(IdentityKey(SEED).public_key).splitlines()
    prefix, *groups = first.split(" ")
    assert prefix == "br1"
    assert second.startswith("    ")
    groups += second.split()
    assert [len(group) for group in groups] == [4] * 14


@pytest.mark.parametrize("slip", ["1", "0", "8", "9", "é", "x"])
def test_a_slip_of_the_tongue_is_noticed_and_not_guessed_at(slip: str) -> None:
    """Only a configuration is stricter: it has no spaces and no capitals."""
    groups = identity_groups(IdentityKey(SEED).public_key)
    with pytest.raises(IdentityError):
        parse_typed_identity(groups[:10] + slip + groups[11:])
    with pytest.raises(IdentityError):
        parse_identity(groups)


def test_reprs_tell_no_secrets() -> None:
    identity, replica = IdentityKey(SEED), DirectorySigner(SEED)
    assert repr(identity) == f"<IdentityKey {format_identity(identity.public_key)}, private>"
    assert repr(replica) == f"<DirectorySigner {replica.public_key.hex()[:16]}…, private>"
    for shown in (repr(identity), repr(replica)):
        assert SEED.hex()[:16] not in shown
