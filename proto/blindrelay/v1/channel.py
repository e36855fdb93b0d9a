"""A gRPC channel to a relay or a bridge, with the protocol's two methods.

It counts its calls, so that it can be closed when the last one has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD

ExchangeCall = grpc.aio.StreamStreamCall[bytes, bytes] | grpc.aio.UnaryStreamCall[list[bytes], bytes]
Metadata = tuple[tuple[str, str | bytes], ...]


class ExchangeChannel:
    """A channel that belongs to the event loop it was made in. Messages are raw bytes."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.grpc = channel
        self._stream: Any = channel.stream_stream(EXCHANGE_METHOD)
        # gRPC keeps the request object until the call ends, perhaps for hours: it keeps an emptied list.
        self._single: Any = channel.unary_stream(EXCHANGE_METHOD, request_serializer=list.pop)
        self._directories: Any = channel.unary_unary(KEY_DIRECTORY_METHOD)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def exchange(self, metadata: Metadata, timeout: float, only_message: bytes | None = None) -> ExchangeCall:
        """Begins an exchange of at most `timeout` seconds, to which messages can be written.

        A request of one message may be given as `only_message`. It is the same on the wire, and leaves in
        one gRPC batch instead of three.
        """
        call: ExchangeCall
        if only_message is None:
            call = self._stream(metadata=metadata, timeout=timeout)
        else:
            call = self._single([only_message], metadata=metadata, timeout=timeout)
        self._count(call)
        return call

    async def directories(self, metadata: Metadata, timeout: float, *, wait_for_ready: bool = False) -> bytes:
        """An encoded GetKeyDirectoryResponse. Raises AioRpcError."""
        call = self._directories(b"", metadata=metadata, timeout=timeout, wait_for_ready=wait_for_ready)
        self._count(call)
        encoded: bytes = await call
        return encoded

    @property
    def is_idle(self) -> bool:
        """Whether no call is running."""
        return self._idle.is_set()

    async def close_when_idle(self) -> None:
        """Closes the channel when the calls on it have ended, or at once if this is cancelled."""
        try:
            await self._idle.wait()
        finally:
            await self.grpc.close()

    def call_ended(self) -> None:
        """Is called when a call has ended. A callback would keep a dropped channel alive, in a cycle."""

    def _count(self, call: Any) -> None:
        self._running += 1
        self._idle.clear()
        call.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        self._running -= 1
        self.call_ended()
        if not self._running:
            self._idle.set()
