"""Deadlines in classes, and channel options that gRPC knows."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, MESSAGE_OPTIONS, client_deadline, forwarded_deadline
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE

FORWARDED = [float(seconds + 60) for seconds in DEADLINE_SECONDS]


@pytest.mark.parametrize(("deadline_class", "seconds"), [(1, 90.0), (2, 630.0), (3, 3_630.0), (4, 21_630.0)])
def test_a_clients_deadline_is_its_class_and_half_a_minute(deadline_class: int, seconds: float) -> None:
    assert client_deadline(deadline_class) == seconds


def test_no_class_means_an_hour() -> None:
    """As the bridge reads it (spec/protocol.md, section 10.2)."""
    assert client_deadline(0) == client_deadline(3)


@pytest.mark.parametrize("deadline_class", [-1, 5])
def test_what_is_no_class_has_no_deadline(deadline_class: int) -> None:
    with pytest.raises((IndexError, KeyError, ValueError)):
        client_deadline(deadline_class)


def test_a_relay_gives_the_bridge_what_the_client_meant() -> None:
    """However long the message was on its way: the bridge's own limit comes before the relay's."""
    for deadline_class, seconds in enumerate(DEADLINE_SECONDS, start=1):
        for elapsed in (0.0, 0.001, 5.0, 29.9):
            assert forwarded_deadline(client_deadline(deadline_class) - elapsed) == seconds + 60


@given(st.floats(allow_nan=False))
def test_a_relay_forwards_four_values_and_no_other(remaining: float) -> None:
    assert forwarded_deadline(remaining) in FORWARDED


def test_a_relay_gives_the_longest_where_the_client_set_none() -> None:
    assert forwarded_deadline(None) == FORWARDED[-1]


@given(st.floats(0, 30_000), st.floats(0, 30_000))
def test_longer_deadlines_are_never_forwarded_as_shorter_ones(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert forwarded_deadline(shorter) <= forwarded_deadline(longer)


def test_every_hop_bounds_messages_and_refuses_compression() -> None:
    options = dict(MESSAGE_OPTIONS)
    assert options["grpc.max_receive_message_length"] == MAX_MESSAGE_SIZE
    assert options["grpc.max_send_message_length"] == MAX_MESSAGE_SIZE
    assert options["grpc.compression_enabled_algorithms_bitset"] == 1


def test_channels_never_repeat_ciphertext_or_use_a_proxy_nobody_chose() -> None:
    options = dict(CHANNEL_OPTIONS)
    assert options["grpc.enable_retries"] == 0
    assert options["grpc.enable_http_proxy"] == 0
    assert set(MESSAGE_OPTIONS) <= set(CHANNEL_OPTIONS)


@pytest.mark.parametrize("options", [MESSAGE_OPTIONS, CHANNEL_OPTIONS], ids=["message", "channel"])
def test_no_option_is_given_twice(options: tuple[tuple[str, int], ...]) -> None:
    assert len(dict(options)) == len(options)


def test_every_option_is_a_name_that_this_grpc_knows() -> None:
    """A mistyped name is taken without a word, and does nothing."""
    library = next((Path(grpc.__file__).parent / "_cython").glob("cygrpc*.so")).read_bytes()
    for name, _ in CHANNEL_OPTIONS:
        assert name.encode() + b"\x00" in library, name
