"""Usage in Amazon's event streams, whose frames have bytes that look like JSON."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.billing.amazon_stream import MAX_PAYLOAD, AmazonPayloads
from blindrelay.provider_bridge.billing.usage import Usage, UsageTap
from blindrelay.v1.receipts_pb2 import MEASURE_INPUT, MEASURE_OUTPUT

HEADERS = b"\x0b:event-type\x07\x00\x05chunk"
USED = {"usage": {"inputTokens": 10, "outputTokens": 50}, "metrics": {"latencyMs": 7}}


def frame(payload: bytes, headers: bytes = HEADERS) -> bytes:
    """One message, as Amazon's documentation of the encoding describes it."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def words(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield frame(json.dumps({"delta": {"text": f"word {number}"}, "p": "ab"}).encode())


def noted(stream: bytes, size: int = 1_000) -> Usage:
    """What is noted of a stream that comes in pieces of this size."""
    usage, faults = Usage(), list[Exception]()
    tap = UsageTap(usage, faults.append, framed=True)
    passed = b"".join(tap.take(stream[at : at + size]) for at in range(0, len(stream), size))
    assert (passed, faults) == (stream, [])
    return usage


@pytest.mark.parametrize("size", [1, 7, 4_096])
def test_report_is_read_among_frames(size: int) -> None:
    stream = b"".join((*words(300), frame(json.dumps(USED).encode())))
    assert noted(stream, size).counts == {MEASURE_INPUT: 10, MEASURE_OUTPUT: 50}


def test_report_in_base64_is_read() -> None:
    events = [
        {"type": "message_start", "message": {"usage": {"input_tokens": 25, "cache_read_input_tokens": 0}}},
        {"type": "content_block_delta", "delta": {"text": "x"}},
        {"type": "message_delta", "usage": {"output_tokens": 15}},
    ]
    stream = b"".join(
        frame(
            json.dumps(
                {"bytes": base64.b64encode(json.dumps(each).encode()).decode()}, separators=(",", ":")
            ).encode()
        )
        for each in events
    )
    usage = noted(stream)
    assert usage.counts == {MEASURE_INPUT: 25, MEASURE_OUTPUT: 15}
    assert usage.deltas == 0


def test_large_frame_is_passed_over_and_not_held() -> None:
    payloads = AmazonPayloads()
    large = frame(b"x" * (MAX_PAYLOAD + 1))
    for at in range(0, len(large), 1_000):
        assert list(payloads.feed(large[at : at + 1_000])) == []
        assert len(payloads._held) <= 1_000
    assert list(payloads.feed(frame(b"{}"))) == [b"{}"]


@given(
    st.lists(st.binary(max_size=40).filter(lambda each: not each.startswith(b'{"bytes":'))),
    st.integers(1, 30),
)
def test_payloads_are_those_of_the_frames(payloads: list[bytes], size: int) -> None:
    reader, stream = AmazonPayloads(), b"".join(map(frame, payloads))
    found = [each for at in range(0, len(stream), size) for each in reader.feed(stream[at : at + size])]
    assert found == payloads


@given(st.binary(max_size=300))
def test_bytes_of_another_kind_pass_unchanged(data: bytes) -> None:
    """A fault costs the report alone."""
    tap = UsageTap(Usage(), lambda fault: None, framed=True)
    assert tap.take(data) + tap.rest() == data
