"""Deadlines have classes, and gRPC knows the channel options."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, MESSAGE_OPTIONS, client_deadline, forwarded_deadline
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE

FORWARDED = [float(seconds + 60) for seconds in DEADLINE_SECONDS]


def test_client_and_relay_add_their_part_to_the_class() -> None:
    """However long the message has taken. Without a class it is an hour (spec/protocol.md, section 10.2)."""
    assert client_deadline(0) == 3_630.0
    for deadline_class, seconds in enumerate(DEADLINE_SECONDS, start=1):
        assert client_deadline(deadline_class) == seconds + 30
        for elapsed in (0.0, 0.001, 5.0, 29.9):
            assert forwarded_deadline(client_deadline(deadline_class) - elapsed) == seconds + 60
    assert forwarded_deadline(None) == FORWARDED[-1]


@pytest.mark.parametrize("deadline_class", [-1, len(DEADLINE_SECONDS) + 1])
def test_unknown_class_has_no_deadline(deadline_class: int) -> None:
    with pytest.raises(ValueError, match="unknown deadline class"):
        client_deadline(deadline_class)


@given(st.floats(allow_nan=False))
def test_relay_forwards_no_other_value(remaining: float) -> None:
    assert forwarded_deadline(remaining) in FORWARDED
    assert forwarded_deadline(remaining) >= min(remaining, FORWARDED[-1])


def test_options_limit_messages_and_leave_nothing_to_grpc_or_the_environment() -> None:
    """No hop compresses. Channels neither retry, nor use the environment's proxy."""
    expected = {
        "grpc.max_receive_message_length": MAX_MESSAGE_SIZE,
        "grpc.max_send_message_length": MAX_MESSAGE_SIZE,
        "grpc.compression_enabled_algorithms_bitset": 1,
    }
    assert expected.items() <= dict(MESSAGE_OPTIONS).items()
    channel = {**expected, "grpc.enable_retries": 0, "grpc.enable_http_proxy": 0}
    assert channel.items() <= dict(CHANNEL_OPTIONS).items()
    assert len(dict(CHANNEL_OPTIONS)) == len(CHANNEL_OPTIONS), "no option is given twice"


def test_grpc_knows_every_option() -> None:
    """gRPC ignores a mistyped name silently."""
    library = next((Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")).read_bytes()
    for name, _ in CHANNEL_OPTIONS:
        assert name.encode() + b"\x00" in library, name
