"""The envelope. Its vectors (spec/vectors/envelope) have each rule and many other encodings."""

from __future__ import annotations

from typing import Any

import pytest
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
    values: dict[str, Any] = {
        "version": 1,
        "exchange_id": bytes(range(16)),
        "identity": bytes(range(32)),
        "key_id": bytes(range(16, 32)),
        "issued_at": NOW,
        "max_units": DEFAULT_MAX_UNITS,
    }
    return Envelope(**values | changes)


GOOD = encode_envelope(envelope())


RULES: dict[str, dict[str, Any]] = {
    "version is not 1": {"version": 2},
    "exchange_id is not 16 bytes": {"exchange_id": bytes(15)},
    "identity is not 32 bytes": {"identity": bytes(33)},
    "key_id is not 16 bytes": {"key_id": b""},
    "issued_at is not a multiple of 10": {"issued_at": NOW + 5},
    "max_units is not 1, 2 or 5 times a power of ten": {"max_units": 3},
    "service_class is not 0": {"service_class": 1},
    "larger than 512 bytes": {"identity": bytes(1_000)},
}


@pytest.mark.parametrize("sentence", RULES)
def test_wrong_field_is_named_on_reading_and_writing(sentence: str) -> None:
    wrong = envelope(**RULES[sentence])
    with pytest.raises(EnvelopeError, match=sentence):
        encode_envelope(wrong)
    with pytest.raises(EnvelopeError, match=sentence):
        parse_envelope(wrong.SerializeToString(deterministic=True))


def test_large_envelope_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EnvelopeError, match="larger than 512 bytes"):
        parse_envelope(b"\xff" * (MAX_ENVELOPE_SIZE + 1))
    with pytest.raises(EnvelopeError, match="not a protobuf message"):
        parse_envelope(b"\xff" * MAX_ENVELOPE_SIZE)


@given(st.binary(max_size=MAX_ENVELOPE_SIZE + 8))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_any_bytes_are_an_envelope_or_a_typed_error(encoded: bytes) -> None:
    for attempt in (encoded, GOOD + encoded, encoded + GOOD):
        try:
            parsed = parse_envelope(attempt)
        except EnvelopeError:
            continue
        assert encode_envelope(parsed) == attempt


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "exactly one envelope, and this one carries 0"),
        ([("x-bin", GOOD)], "exactly one envelope, and this one carries 0"),
        ([(METADATA_KEY, GOOD), (METADATA_KEY, b"")], "exactly one envelope, and this one carries 2"),
        ([(METADATA_KEY, GOOD.decode("latin-1"))], "not binary"),
    ],
)
def test_call_carries_exactly_one_envelope(metadata: Any, words: str) -> None:
    assert len(GOOD) < 120
    assert envelope_from_metadata([("a", "b"), (METADATA_KEY, GOOD), ("c-bin", b"d")]) == (GOOD, envelope())
    with pytest.raises(EnvelopeError, match=words):
        envelope_from_metadata(metadata)


def test_unit_limits_are_steps_of_a_ladder() -> None:
    ladder = [step * 10**power for power in range(18) for step in (1, 2, 5)]
    assert all(is_unit_limit(units) for units in (*ladder, 5 * 10**18))
    others = set(range(1_000)) | {step + offset for step in ladder for offset in (-1, 1)} | {10**19, 2**63}
    assert not any(is_unit_limit(units) for units in others - set(ladder))
