"""Scenarios of the envelope in a call's metadata."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from generator.fixed import ALICE, IDENTITY, NOW, envelope, public
from generator.primitives import encode, sha256
from generator.scenario import Scenario

UNIT_LIMITS = (1, 2, 5, 10, 20, 50, 1_000_000, 5_000_000_000_000_000_000)


def _accepted(name: str, comment: str, encoded: bytes, **fields: int) -> Scenario:
    stated: dict[str, int | bytes] = {
        "version": 1,
        "exchange_id": ALICE.envelope[4:20],
        "identity": public(IDENTITY),
        "key_id": envelope().key_id,
        "issued_at": NOW,
        "max_units": 1_000_000,
        "service_class": 0,
    }
    return Scenario(
        "envelope", name, comment, "accept",
        {"values": [encoded], "envelope": stated | fields, "envelope_hash": sha256(encoded)},
    )  # fmt: skip


def _refused(name: str, comment: str, values: bytes | Sequence[bytes]) -> Scenario:
    listed = [values] if isinstance(values, bytes) else list(values)
    return Scenario("envelope", name, comment, "refused", {"values": listed})


def scenarios() -> Iterator[Scenario]:
    good = encode(envelope())
    yield _accepted("envelope", "The envelope of the exchange in exchange/small.json.", good)
    for units in UNIT_LIMITS:
        encoded = encode(envelope(max_units=units))
        yield _accepted(f"max_units_{units}", "A rung of the 1-2-5 ladder.", encoded, max_units=units)
    yield from _number_of_values(good)
    yield from _encodings(good)
    yield from _rules()


def _number_of_values(good: bytes) -> Iterator[Scenario]:
    yield _refused("missing", "A call without an envelope.", [])
    yield _refused("doubled", "The same value twice.", [good, good])
    comment = "Two values: a relay and a bridge could read one each."
    yield _refused("two_different", comment, [good, good[:-1] + b"\x7f"])


def _encodings(good: bytes) -> Iterator[Scenario]:
    version, fields = good[:2], good[2:]
    large = good + b"\x42" + _filler(513 - len(good) - 1)
    wide_version = b"\x08\x81\x80\x80\x80\x10" + fields
    long_length = version + b"\x12\x90\x00" + fields[2:]
    cases = {
        "empty": ("No fields.", b""),
        "not_protobuf": ("A tag that does not exist.", b"\x07" + good),
        "cut": ("The last byte is missing.", good[:-1]),
        "trailing_byte": ("A byte behind the last field.", good + b"\x00"),
        "unknown_field": ("Field 8 of no message.", good + b"\x40\x01"),
        "unknown_field_in_front": ("Field 8 of no message, before the others.", b"\x40\x01" + good),
        "repeated_field": ("version twice, with one value.", version + good),
        "repeated_field_last_wins": ("version twice: 2, then 1.", b"\x08\x02" + good),
        "odd_order": ("version behind the others.", fields + version),
        "overlong_varint": ("version in two bytes.", b"\x08\x81\x00" + fields),
        "overlong_tag": ("version's tag in two bytes.", b"\x88\x00\x01" + fields),
        "overlong_length": ("exchange_id's length in two bytes.", long_length),
        "version_beyond_32_bits": ("2^32 + 1, which some decoders cut to 1.", wide_version),
        "explicit_default": ("service_class 0, spelt out.", good + b"\x38\x00"),
        "wrong_wire_type": ("version as bytes.", b"\x0a\x01\x01" + fields),
        "too_large": ("513 bytes, most of them an unknown field.", large),
    }
    for name, (comment, encoded) in cases.items():
        yield _refused(name, comment, encoded)


def _filler(size: int) -> bytes:
    """A length-delimited value of so many bytes in all, its two-byte length included."""
    length = size - 2
    return bytes([length & 0x7F | 0x80, length >> 7]) + bytes(length)


def _rules() -> Iterator[Scenario]:
    uneven = "A multiple of 10 seconds, or it would tell clients apart."
    rules: dict[str, tuple[str, dict[str, int | bytes]]] = {
        "version_0": ("Absent, which is 0.", {"version": 0}),
        "version_2": ("No version but 1.", {"version": 2}),
        "exchange_id_missing": ("16 bytes.", {"exchange_id": b""}),
        "exchange_id_short": ("16 bytes.", {"exchange_id": bytes(15)}),
        "exchange_id_long": ("16 bytes.", {"exchange_id": bytes(17)}),
        "identity_short": ("32 bytes.", {"identity": bytes(31)}),
        "identity_long": ("32 bytes.", {"identity": bytes(33)}),
        "key_id_short": ("16 bytes.", {"key_id": bytes(15)}),
        "key_id_long": ("16 bytes.", {"key_id": bytes(17)}),
        "issued_at_missing": ("A time.", {"issued_at": 0}),
        "issued_at_uneven": (uneven, {"issued_at": NOW + 1}),
        "max_units_missing": ("At least 1.", {"max_units": 0}),
        "max_units_3": ("Not on the 1-2-5 ladder.", {"max_units": 3}),
        "max_units_15": ("Not on the 1-2-5 ladder.", {"max_units": 15}),
        "max_units_1000001": ("Not on the 1-2-5 ladder.", {"max_units": 1_000_001}),
        "service_class_1": ("The only class is 0.", {"service_class": 1}),
    }
    for name, (comment, changes) in rules.items():
        yield _refused(name, comment, encode(envelope(**changes)))
