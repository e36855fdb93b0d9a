"""The method Exchange on a channel, begun in one of two ways that are the same on the wire."""

from __future__ import annotations

from typing import Any

import grpc

from blindrelay.v1.grpc_profile import EXCHANGE_METHOD

ExchangeCall = grpc.aio.StreamStreamCall[bytes, bytes] | grpc.aio.UnaryStreamCall[list[bytes], bytes]
Metadata = tuple[tuple[str, str | bytes], ...]


class ExchangeMethod:
    """Messages are raw bytes: what a hostile peer sends is parsed where failing is expected."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._streamed: Any = channel.stream_stream(EXCHANGE_METHOD)
        # gRPC keeps the request until the call ends, perhaps for hours: what it keeps is the list that the
        # message is taken from.
        self._whole: Any = channel.unary_stream(EXCHANGE_METHOD, request_serializer=list.pop)

    def begin(self, whole: bytes | None, metadata: Metadata, timeout: float) -> ExchangeCall:
        """Begins a call: with the only message of its request, half-closed, which takes gRPC one step and not
        three; or, with None, to write messages to. `timeout` is in seconds.
        """
        call: ExchangeCall
        if whole is None:
            call = self._streamed(metadata=metadata, timeout=timeout)
        else:
            call = self._whole([whole], metadata=metadata, timeout=timeout)
        return call
