"""Doubles of client and bridge as gRPC peers: no size limits, compression, errors without a type."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final
from unittest.mock import patch

from blindrelay.client import channel
from blindrelay.serving import server_options
from blindrelay.testbed.attacks.doubles.double import patches

_CLIENT: Final = "blindrelay.client"
_BRIDGE: Final = "blindrelay.provider_bridge"


def without_size_limits() -> AbstractContextManager[object]:
    """Neither client nor bridge bounds what it is sent."""
    unlimited = ("grpc.max_receive_message_length", -1)
    return patches(
        patch.object(channel, "OPTIONS", (unlimited, *channel.OPTIONS)),
        patch(f"{_BRIDGE}.bridge.server_options", lambda *given: (unlimited, *server_options(*given))),
        patch(f"{_CLIENT}.key_ring.MAX_DIRECTORIES_SIZE", 1 << 30),
        patch(f"{_CLIENT}.key_ring.MAX_DIRECTORIES", 1 << 30),
    )


def with_compression() -> AbstractContextManager[object]:
    """Client and bridge take compressed messages."""
    every = ("grpc.compression_enabled_algorithms_bitset", 7)
    return patches(
        patch.object(channel, "OPTIONS", (every, *channel.OPTIONS)),
        patch(f"{_BRIDGE}.bridge.server_options", lambda *given: (every, *server_options(*given))),
    )


def without_typed_errors() -> AbstractContextManager[object]:
    """Bytes that are not a protobuf message raise an untyped error. The bridge sends its text in clear."""

    class OtherError(Exception):
        pass

    return patches(
        patch(f"{_CLIENT}.sealed_stream.DecodeError", OtherError),
        patch(f"{_CLIENT}.key_ring.DecodeError", OtherError),
        patch(f"{_BRIDGE}.exchange_opener.DecodeError", OtherError),
        patch(f"{_BRIDGE}.service.guarded", lambda handler, on_fault: handler),
    )
