"""Identities as text, and the keys that sign."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import VerifyKey

from blindrelay.trust import DirectorySigner, IdentityError, IdentityKey, format_identity
from blindrelay.trust.identity import identity_groups, parse_identity, parse_typed_identity
from blindrelay.v1.keys_pb2 import Delegation, KeyDirectory

SEED = bytes(range(32))
IDENTITIES = st.binary(min_size=32, max_size=32)


@given(IDENTITIES)
def test_identity_comes_back_from_its_text(identity: bytes) -> None:
    text = format_identity(identity)
    assert (text[:3], len(text)) == ("br1", 59)
    assert set(text[3:]) <= set(string.ascii_lowercase + "234567")
    assert parse_identity(text) == identity


def test_any_single_slip_is_refused() -> None:
    text = format_identity(IdentityKey(SEED).public_key)
    letters = set(string.printable) | {"é", "ß", "\u0131", "\u017f", "\uff10"}
    for place in range(len(text)):
        slips = {text[:place] + letter + text[place + 1 :] for letter in letters}
        slips |= {text[:place] + text[place + 1 :], text[:place] + text[place] + text[place:]}
        slips |= {text[:place] + text[place + 1 : place + 2] + text[place] + text[place + 2 :]}
        for slip in slips - {text}:
            with pytest.raises(IdentityError):
                parse_identity(slip)


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
def test_refusal_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        parse_identity(text)


@given(IDENTITIES, st.sampled_from([str.upper, str.lower, str.title]))
def test_groups_can_be_typed(identity: bytes, spoken: Callable[[str], str]) -> None:
    groups = identity_groups(identity)
    assert "".join(groups.split()) == format_identity(identity)
    for typed in (groups, groups.replace(" ", "-"), groups.replace(" ", "")):
        assert parse_typed_identity(spoken(typed)) == identity


def test_groups_are_two_lines_of_seven_and_show_slips() -> None:
    groups = identity_groups(IdentityKey(SEED).public_key)
    first, second = groups.splitlines()
    prefix, *fours = first.split(" ")
    assert (prefix, second[:4]) == ("br1", "    ")
    assert [len(group) for group in fours + second.split()] == [4] * 14
    with pytest.raises(IdentityError):
        parse_identity(groups)
    for slip in "1089éx":
        with pytest.raises(IdentityError):
            parse_typed_identity(groups[:10] + slip + groups[11:])


def test_identity_key_comes_back_from_its_seed_of_32_bytes() -> None:
    key = IdentityKey.generate()
    assert IdentityKey.from_seed(key.seed).public_key == key.public_key
    assert IdentityKey.generate().public_key != key.public_key
    for size in (0, 31, 33, 64):
        with pytest.raises(IdentityError, match="32 bytes"):
            IdentityKey.from_seed(bytes(size))


def test_reprs_show_no_secrets() -> None:
    identity, replica = IdentityKey(SEED), DirectorySigner(SEED)
    assert repr(identity) == f"<IdentityKey {format_identity(identity.public_key)}, private>"
    assert repr(replica) == f"<DirectorySigner {replica.public_key.hex()[:16]}…, private>"


def test_identity_signs_a_delegation_and_the_replica_a_directory() -> None:
    identity, replica = IdentityKey(SEED), DirectorySigner.generate()
    delegated = identity.delegate(replica.public_key, 100, 200)
    directory = KeyDirectory(identity=identity.public_key, sequence=3)
    signed = replica.sign(directory, delegated)
    delegation = Delegation.FromString(signed.delegation)
    assert (delegation.identity, delegation.signing_key) == (identity.public_key, replica.public_key)
    assert (delegation.not_before, delegation.not_after) == (100, 200)
    assert signed.directory == directory.SerializeToString(deterministic=True)
    assert signed.delegation_signature == delegated.signature
    for key, label, message, signature in (
        (identity.public_key, b"delegation", signed.delegation, signed.delegation_signature),
        (replica.public_key, b"key directory", signed.directory, signed.signature),
    ):
        VerifyKey(key).verify(b"blindrelay/v1 " + label + b"\x00" + message, signature)
