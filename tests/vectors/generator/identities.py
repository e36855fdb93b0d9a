"""Scenarios of identities as text, and of keys and their names."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from generator.fixed import CONFIG, IDENTITY, KEM_KEY, NOW, key_config, key_id, public
from generator.primitives import encode, label, sha256
from generator.scenario import Scenario

from blindrelay.v1.keys_pb2 import KeyConfig


def scenarios() -> Iterator[Scenario]:
    yield from _identities()
    yield from _keys()


def _text(identity: bytes, checksum: bytes | None = None) -> str:
    checksum = sha256(label("blindrelay/v1 identity", identity))[:3] if checksum is None else checksum
    return "br1" + base64.b32encode(identity + checksum).decode().lower()


def _identities() -> Iterator[Scenario]:
    identity = public(IDENTITY)
    text = _text(identity)

    def bad(name: str, comment: str, text: str) -> Scenario:
        return Scenario("identity", name, comment, "mistyped", {"text": text})

    yield Scenario(
        "identity", "identity", "A bridge's identity as a client pins it.", "accept",
        {"text": text, "identity": identity},
    )  # fmt: skip
    yield bad(
        "one_letter_wrong", "The checksum covers every character.", text[:20] + _other(text[20]) + text[21:]
    )
    yield bad("two_letters_swapped", "The commonest slip of a hand.", text[:4] + text[5] + text[4] + text[6:])
    yield bad(
        "checksum_of_bare_key",
        "The checksum is over a label and the key.",
        _text(identity, sha256(identity)[:3]),
    )
    yield bad("upper_case", "There is one spelling.", "br1" + text[3:].upper())
    yield bad("upper_case_prefix", "There is one spelling.", "BR1" + text[3:])
    yield bad("other_prefix", "The prefix names the kind of text and its version.", "br2" + text[3:])
    yield bad("cut", "The last character is missing.", text[:-1])
    yield bad("extended", "One character too many.", text + "a")
    yield bad("padded", "Base32 without its padding.", text + "======")
    yield bad("space_behind", "Nothing is trimmed.", text + " ")
    yield bad("digit_outside_the_alphabet", "Base32 has no 1.", text[:30] + "1" + text[31:])
    yield bad("letter_outside_ascii", "Base32 has no é.", text[:30] + "é" + text[31:])
    yield bad("dotless_i", "A letter that a careless upper-casing turns into I.", "br1" + "\u0131" * 56)
    yield bad("empty", "No text at all.", "")


def _other(letter: str) -> str:
    return "b" if letter == "a" else "a"


def _keys() -> Iterator[Scenario]:
    def bad(name: str, comment: str, config: KeyConfig | bytes, expect: str = "malformed") -> Scenario:
        encoded = config if isinstance(config, bytes) else encode(config)
        return Scenario("key", name, comment, expect, {"config": encoded})

    yield Scenario(
        "key", "key", "A key's config, its name, and the seeds that its private half comes from.", "accept",
        {
            "kem_seed": KEM_KEY.seed,
            "mlkem_seed": KEM_KEY.expanded[0],
            "x25519_private_key": KEM_KEY.expanded[1],
            "public_key": KEM_KEY.public_bytes,
            "not_before": NOW - 600,
            "not_after": NOW + 3_000,
            "config": CONFIG,
            "key_id": key_id(CONFIG),
        },
    )  # fmt: skip
    for suite in (0, 2, 0x647A):
        config = key_config(KEM_KEY)
        config.suite = suite
        yield bad(f"suite_{suite}", "One suite, no negotiation.", config, "unknown_suite")
    good = KEM_KEY.public_bytes
    for name, public_key in {
        "public_key_missing": b"",
        "public_key_short": good[:-1],
        "public_key_long": good + b"\x00",
    }.items():
        config = key_config(KEM_KEY)
        config.public_key = public_key
        yield bad(name, "An X-Wing public key is 1,216 bytes.", config)
    config = key_config(KEM_KEY)
    config.public_key = b"\xff\xff\xff" + good[3:]
    yield bad("mlkem_coefficient_too_large", "FIPS 203, section 7.2: the modulus check.", config)
    yield bad("validity_empty", "not_before is not before not_after.", key_config(KEM_KEY, NOW, NOW))
    yield bad("validity_backwards", "not_after comes first.", key_config(KEM_KEY, NOW, NOW - 10))
    yield bad("not_before_uneven", "A multiple of 10 seconds.", key_config(KEM_KEY, NOW - 599))
    yield bad("not_after_uneven", "A multiple of 10 seconds.", key_config(KEM_KEY, not_after=NOW + 3_001))
    yield bad("not_protobuf", "A field that ends before its length.", b"\x12\x05abc")
    yield bad("empty", "No suite is not suite 1.", b"", "unknown_suite")
