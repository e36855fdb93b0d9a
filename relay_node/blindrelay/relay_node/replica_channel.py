"""The channel to one bridge process, and another one when the TLS files of the first have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from blindrelay.relay_node.channels import ChannelFactory
from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.serving import ConfigError
from blindrelay.serving.files import Followed
from blindrelay.v1.exchange_call import ExchangeCall, Metadata
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD


class ReplicaChannel:
    """Calls to one bridge process, each over the channel that was the newest when it began."""

    def __init__(
        self,
        config: ReplicaConfig,
        open_channel: ChannelFactory,
        on_problem: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises ConfigError for unusable TLS files; `on_problem` is told of those that become so later."""
        self._on_problem = on_problem
        tls = config.tls
        self._channels = Followed(
            lambda: None if tls is None else tls.version(), lambda: _Channel(open_channel(config))
        )
        self._newest = self._channels.first
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether the newest channel is connected."""
        return self._newest.channel.get_state() is grpc.ChannelConnectivity.READY

    def exchange(self, metadata: Metadata, timeout: float) -> ExchangeCall:
        """Opens an exchange, of at most `timeout` seconds."""
        return self._newest.exchange(metadata, timeout)

    async def directories(self, metadata: Metadata, timeout: float, *, wait_for_ready: bool) -> bytes:
        """An encoded GetKeyDirectoryResponse. Raises AioRpcError."""
        fetch: Any = self._newest.channel.unary_unary(KEY_DIRECTORY_METHOD)
        encoded: bytes = await fetch(b"", timeout=timeout, metadata=metadata, wait_for_ready=wait_for_ready)
        return encoded

    def follow_files(self) -> None:
        """Opens a new channel if the TLS files have changed; exchanges that run end on theirs."""
        try:
            channel = self._channels.news()
        except ConfigError:
            self._on_problem()
            return
        if channel is None:
            return
        retired, self._newest = self._newest, channel
        closing = asyncio.create_task(retired.close_when_idle())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes all channels, with whatever runs on them."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, self._newest.channel.close(), return_exceptions=True)


class _Channel:
    """A channel that knows how many exchanges run on it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        # Messages are raw bytes, as they are passed on.
        self._exchange: Any = channel.stream_stream(EXCHANGE_METHOD)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def exchange(self, metadata: Metadata, timeout: float) -> ExchangeCall:
        call: ExchangeCall = self._exchange(metadata=metadata, timeout=timeout)
        self._running += 1
        self._idle.clear()
        call.add_done_callback(self._ended)
        return call

    async def close_when_idle(self) -> None:
        try:
            await self._idle.wait()
        finally:
            await self.channel.close()

    def _ended(self, _: object) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()
