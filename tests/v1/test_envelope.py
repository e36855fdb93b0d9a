"""The envelope: one reading for each bytes, or none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.v1.envelope import (
    METADATA_KEY,
    EnvelopeError,
    encode_envelope,
    envelope_from_metadata,
    is_unit_limit,
    parse_envelope,
)
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, MAX_ENVELOPE_SIZE

NOW = 1_800_000_000


def envelope(**changes: Any) -> Envelope:
    made = Envelope(
        version=1,
        exchange_id=bytes(range(16)),
        identity=bytes(range(32)),
        key_id=bytes(range(16, 32)),
        issued_at=NOW,
        max_units=DEFAULT_MAX_UNITS,
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


GOOD = encode_envelope(envelope())


def test_an_envelope_comes_back_from_its_bytes() -> None:
    assert parse_envelope(GOOD) == envelope()
    assert encode_envelope(parse_envelope(GOOD)) == GOOD
    assert len(GOOD) < 120


RULES: dict[str, dict[str, Any]] = {
    "version is not 1": {"version": 2},
    "exchange_id is not 16 bytes": {"exchange_id": bytes(15)},
    "identity is not 32 bytes": {"identity": bytes(33)},
    "key_id is not 16 bytes": {"key_id": b""},
    "issued_at is not a multiple of 10": {"issued_at": NOW + 5},
    "max_units is not 1, 2 or 5 times a power of ten": {"max_units": 3},
    "service_class is not 0": {"service_class": 1},
}


@pytest.mark.parametrize("sentence", RULES)
def test_a_field_against_its_rule_is_neither_read_nor_written(sentence: str) -> None:
    spoilt = envelope(**RULES[sentence])
    with pytest.raises(EnvelopeError, match=sentence):
        encode_envelope(spoilt)
    with pytest.raises(EnvelopeError, match=sentence):
        parse_envelope(spoilt.SerializeToString(deterministic=True))


@pytest.mark.parametrize("name", [field.name for field in Envelope.DESCRIPTOR.fields if field.number < 7])
def test_every_field_is_required(name: str) -> None:
    spoilt = envelope()
    spoilt.ClearField(name)  # type: ignore[arg-type]
    with pytest.raises(EnvelopeError, match=name):
        parse_envelope(spoilt.SerializeToString(deterministic=True))


def test_a_large_envelope_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EnvelopeError, match="larger than 512 bytes"):
        parse_envelope(b"\xff" * (MAX_ENVELOPE_SIZE + 1))
    with pytest.raises(EnvelopeError, match="not a protobuf message"):
        parse_envelope(b"\xff" * MAX_ENVELOPE_SIZE)
    with pytest.raises(EnvelopeError, match="larger than 512 bytes"):
        encode_envelope(envelope(identity=bytes(1_000)))


def fields(encoded: bytes) -> list[bytes]:
    """The envelope's fields, each with its tag: all of its lengths and tags are one byte."""
    found: list[bytes] = []
    while encoded:
        if encoded[0] & 7 == 2:
            size = 2 + encoded[1]
        else:
            size = 2 + next(place for place, byte in enumerate(encoded[1:]) if byte < 0x80)
        found.append(encoded[:size])
        encoded = encoded[size:]
    return found


def other_encodings() -> Iterator[bytes]:
    """The same envelope, as any protobuf decoder reads it, in other bytes."""
    parts = fields(GOOD)
    for place, part in enumerate(parts):
        before, after = b"".join(parts[:place]), b"".join(parts[place + 1 :])
        yield GOOD + part
        yield part + GOOD
        if place + 1 < len(parts):
            yield before + after + part
        yield before + bytes([part[0] | 0x80, 0x00]) + part[1:] + after
        if part[0] & 7 == 2:
            yield before + bytes([part[0], part[1] | 0x80, 0x00]) + part[2:] + after
        else:
            yield before + part[:-1] + bytes([part[-1] | 0x80, 0x00]) + after
    yield GOOD + b"\x38\x00"
    yield GOOD + b"\x40\x01"
    yield b"\x40\x01" + GOOD
    yield GOOD + b"\x42\x03abc"
    yield GOOD + b"\xfa\xff\xff\xff\x0f\x00"
    yield GOOD + b"\x43\x44"


def test_every_other_encoding_of_a_good_envelope_is_refused() -> None:
    encodings = list(other_encodings())
    assert len(encodings) == 6 * 4 + 5 + 6
    for encoded in encodings:
        assert encoded != GOOD
        try:
            read = Envelope.FromString(encoded)
        except DecodeError:
            pytest.fail("this is meant to be readable")
        read.DiscardUnknownFields()
        assert read == envelope(), "this is meant to be another encoding of the same"
        with pytest.raises(EnvelopeError, match="not in its deterministic encoding"):
            parse_envelope(encoded)


@given(st.binary(max_size=MAX_ENVELOPE_SIZE + 8))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_bytes_are_an_envelope_or_a_typed_error(encoded: bytes) -> None:
    for attempt in (encoded, GOOD + encoded, encoded + GOOD):
        try:
            parsed = parse_envelope(attempt)
        except EnvelopeError:
            continue
        assert encode_envelope(parsed) == attempt


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_any_flipped_bit_gives_another_envelope_or_none(place: int, bit: int) -> None:
    altered = bytearray(GOOD)
    altered[place] ^= 1 << bit
    try:
        parsed = parse_envelope(bytes(altered))
    except EnvelopeError:
        return
    assert parsed != envelope()
    assert encode_envelope(parsed) == bytes(altered)


def test_a_call_carries_exactly_one() -> None:
    other = encode_envelope(envelope(exchange_id=os.urandom(16)))
    assert envelope_from_metadata([("a", "b"), (METADATA_KEY, GOOD), ("c-bin", b"d")]) == (GOOD, envelope())
    none: list[list[tuple[str, str | bytes]]] = [[], [("blindrelay-envelope", GOOD)], [("x-bin", GOOD)]]
    for metadata in none:
        with pytest.raises(EnvelopeError, match="exactly one envelope, and this one carries 0"):
            envelope_from_metadata(metadata)
    with pytest.raises(EnvelopeError, match="exactly one envelope, and this one carries 0"):
        envelope_from_metadata(None)
    for second in (GOOD, other, b""):
        with pytest.raises(EnvelopeError, match="exactly one envelope, and this one carries 2"):
            envelope_from_metadata([(METADATA_KEY, GOOD), (METADATA_KEY, second)])


def test_a_value_that_is_text_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="not binary"):
        envelope_from_metadata([(METADATA_KEY, GOOD.decode("latin-1"))])


def test_the_metadata_key_is_binary_and_lower_case() -> None:
    """gRPC treats as binary what ends in -bin, and sends keys in lower case only."""
    assert METADATA_KEY == "blindrelay-envelope-bin"


def test_the_ladder_of_units() -> None:
    ladder = [step * 10**power for power in range(18) for step in (1, 2, 5)]
    assert all(is_unit_limit(units) for units in ladder)
    assert not any(is_unit_limit(units) for units in set(range(1_000)) - set(ladder))
    around = {rung + offset for rung in ladder for offset in (-1, 1)} - set(ladder)
    assert not any(is_unit_limit(units) for units in around)
    assert is_unit_limit(DEFAULT_MAX_UNITS)


@pytest.mark.parametrize(("units", "good"), [(5 * 10**18, True), (10**19, False), (2**63, False)])
def test_the_ladder_ends_below_what_a_signed_number_holds(units: int, good: bool) -> None:
    assert is_unit_limit(units) is good
