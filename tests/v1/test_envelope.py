"""The envelope. Its vectors (spec/vectors/envelope) have each rule of reading."""

from __future__ import annotations

from typing import Any

import pytest

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

VALUES: dict[str, Any] = {
    "version": 1,
    "exchange_id": bytes(range(16)),
    "identity": bytes(range(32)),
    "key_id": bytes(range(16, 32)),
    "issued_at": 1_800_000_000,
    "max_units": DEFAULT_MAX_UNITS,
}
GOOD = encode_envelope(Envelope(**VALUES))


@pytest.mark.parametrize("wrong", [{"version": 2}, {"service_class": 1}, {"identity": bytes(1_000)}])
def test_wrong_envelope_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError):
        encode_envelope(Envelope(**VALUES | wrong))


def test_large_envelope_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(EnvelopeError, match="larger than 512 bytes"):
        parse_envelope(b"\xff" * (MAX_ENVELOPE_SIZE + 1))
    with pytest.raises(EnvelopeError, match="not a protobuf message"):
        parse_envelope(b"\xff" * MAX_ENVELOPE_SIZE)


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
    carried: Any = [("a", "b"), (METADATA_KEY, GOOD), ("c-bin", b"d")]
    assert envelope_from_metadata(carried) == (GOOD, Envelope(**VALUES))
    with pytest.raises(EnvelopeError, match=words):
        envelope_from_metadata(metadata)


def test_unit_limits_are_steps_of_a_ladder() -> None:
    ladder = [step * 10**power for power in range(18) for step in (1, 2, 5)]
    assert all(is_unit_limit(units) for units in (*ladder, 5 * 10**18))
    others = set(range(1_000)) | {step + offset for step in ladder for offset in (-1, 1)} | {10**19, 2**63}
    assert not any(is_unit_limit(units) for units in others - set(ladder))
