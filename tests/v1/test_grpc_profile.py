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


@pytest.mark.parametrize(
    ("deadline_class", "seconds"), [(0, 3_630.0), (1, 90.0), (2, 630.0), (3, 3_630.0), (4, 21_630.0)]
)
def test_clients_deadline_is_its_class_and_half_a_minute(deadline_class: int, seconds: float) -> None:
    """Without a class it is an hour, as the bridge reads it (spec/protocol.md, section 10.2)."""
    assert client_deadline(deadline_class) == seconds


@pytest.mark.parametrize("deadline_class", [-1, 5])
def test_unknown_class_has_no_deadline(deadline_class: int) -> None:
    with pytest.raises(ValueError, match="unknown deadline class"):
        client_deadline(deadline_class)


def test_relay_forwards_the_clients_class() -> None:
    """However long the message has taken. The bridge's own limit comes before the relay's."""
    for deadline_class, seconds in enumerate(DEADLINE_SECONDS, start=1):
        for elapsed in (0.0, 0.001, 5.0, 29.9):
            assert forwarded_deadline(client_deadline(deadline_class) - elapsed) == seconds + 60
    assert forwarded_deadline(None) == FORWARDED[-1]


@given(st.floats(allow_nan=False))
def test_relay_forwards_no_other_value(remaining: float) -> None:
    assert forwarded_deadline(remaining) in FORWARDED
    assert forwarded_deadline(remaining) >= min(remaining, FORWARDED[-1])


def test_every_hop_limits_messages_and_refuses_compression() -> None:
    options = dict(MESSAGE_OPTIONS)
    assert options["grpc.max_receive_message_length"] == MAX_MESSAGE_SIZE
    assert options["grpc.max_send_message_length"] == MAX_MESSAGE_SIZE
    assert options["grpc.compression_enabled_algorithms_bitset"] == 1


def test_channels_neither_retry_nor_use_the_environments_proxy() -> None:
    options = dict(CHANNEL_OPTIONS)
    assert options["grpc.enable_retries"] == 0
    assert options["grpc.enable_http_proxy"] == 0
    assert set(MESSAGE_OPTIONS) <= set(CHANNEL_OPTIONS)
    assert len(options) == len(CHANNEL_OPTIONS), "no option is given twice"


def test_grpc_knows_every_option() -> None:
    """gRPC ignores a mistyped name silently."""
    library = next((Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")).read_bytes()
    for name, _ in CHANNEL_OPTIONS:
        assert name.encode() + b"\x00" in library, name
