"""Scenarios of identities as text, and of keys and their names."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from generator.fixed import IDENTITY, KEM_KEY, NOW, key_config, key_id, public
from generator.primitives import encode, label, sha256
from generator.scenario import Scenario


def scenarios() -> Iterator[Scenario]:
    yield from _identities()
    yield from _keys()


def _text(identity: bytes, checksum: bytes | None = None) -> str:
    checksum = sha256(label("blindrelay/v1 identity", identity))[:3] if checksum is None else checksum
    return "br1" + base64.b32encode(identity + checksum).decode().lower()


def _identities() -> Iterator[Scenario]:
    identity = public(IDENTITY)
    text = _text(identity)
    comment, fields = "A bridge's identity as a client pins it.", {"text": text, "identity": identity}
    yield Scenario("identity", "identity", comment, "accept", fields)
    one_letter, bare = text[:20] + _other(text[20]) + text[21:], _text(identity, sha256(identity)[:3])
    mistyped = {
        "one_letter_wrong": ("The checksum covers every character.", one_letter),
        "two_letters_swapped": ("The commonest slip of a hand.", text[:4] + text[5] + text[4] + text[6:]),
        "checksum_of_bare_key": ("The checksum is over a label and the key.", bare),
        "upper_case": ("There is one spelling.", "br1" + text[3:].upper()),
        "upper_case_prefix": ("There is one spelling.", "BR1" + text[3:]),
        "other_prefix": ("The prefix names the kind of text and its version.", "br2" + text[3:]),
        "cut": ("The last character is missing.", text[:-1]),
        "extended": ("One character too many.", text + "a"),
        "padded": ("Base32 without its padding.", text + "======"),
        "space_behind": ("Nothing is trimmed.", text + " "),
        "digit_outside_the_alphabet": ("Base32 has no 1.", text[:30] + "1" + text[31:]),
        "letter_outside_ascii": ("Base32 has no é.", text[:30] + "é" + text[31:]),
        "dotless_i": ("A letter that a careless upper-casing turns into I.", "br1" + "\u0131" * 56),
        "empty": ("No text at all.", ""),
    }
    for name, (comment, slip) in mistyped.items():
        yield Scenario("identity", name, comment, "mistyped", {"text": slip})


def _other(letter: str) -> str:
    return "b" if letter == "a" else "a"


def _keys() -> Iterator[Scenario]:
    comment = "A key's config, its name, and the seeds that its private half comes from."
    yield _key("key", comment, NOW - 600, NOW + 3_000)
    yield _key("validity_longest", "172,800 seconds.", NOW, NOW + 172_800)
    late = (1 << 54) + 6
    yield _key("validity_beyond_2_53", "Times that a double would round.", late, late + 10)
    good, size = KEM_KEY.public_bytes, "An X-Wing public key is 1,216 bytes."
    modulus = _changed(public_key=b"\xff\xff\xff" + good[3:])
    malformed = {
        "public_key_missing": (size, _changed(public_key=b"")),
        "public_key_short": (size, _changed(public_key=good[:-1])),
        "public_key_long": (size, _changed(public_key=good + b"\x00")),
        "mlkem_coefficient_too_large": ("FIPS 203, section 7.2: the modulus check.", modulus),
        "validity_empty": ("not_before is not before not_after.", _changed(not_before=NOW, not_after=NOW)),
        "validity_backwards": ("not_after comes first.", _changed(not_before=NOW, not_after=NOW - 10)),
        "validity_too_long": ("172,810 seconds.", _changed(not_before=NOW, not_after=NOW + 172_810)),
        "not_before_uneven": ("A multiple of 10 seconds.", _changed(not_before=NOW - 599)),
        "not_after_uneven": ("A multiple of 10 seconds.", _changed(not_after=NOW + 3_001)),
        "not_protobuf": ("A field that ends before its length.", b"\x12\x05abc"),
    }
    for name, (comment, config) in malformed.items():
        yield Scenario("key", name, comment, "malformed", {"config": config})
    suites = {
        f"suite_{suite}": ("One suite, no negotiation.", _changed(suite=suite)) for suite in (0, 2, 0x647A)
    }
    for name, (comment, config) in (suites | {"empty": ("No suite is not suite 1.", b"")}).items():
        yield Scenario("key", name, comment, "unknown_suite", {"config": config})


def _key(name: str, comment: str, not_before: int, not_after: int) -> Scenario:
    config = encode(key_config(KEM_KEY, not_before, not_after))
    stated = {
        "kem_seed": KEM_KEY.seed,
        "mlkem_seed": KEM_KEY.expanded[0],
        "x25519_private_key": KEM_KEY.expanded[1],
        "public_key": KEM_KEY.public_bytes,
        "not_before": not_before,
        "not_after": not_after,
        "config": config,
        "key_id": key_id(config),
    }
    return Scenario("key", name, comment, "accept", stated)


def _changed(**changes: int | bytes) -> bytes:
    config = key_config(KEM_KEY)
    for name, value in changes.items():
        setattr(config, name, value)
    return encode(config)
