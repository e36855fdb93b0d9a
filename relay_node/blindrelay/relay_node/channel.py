"""The relay's gRPC channels to its peers, and a bridge's new channel when the TLS files change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from blindrelay.relay_node.config import PeerConfig, ReplicaConfig
from blindrelay.serving import ConfigError
from blindrelay.serving.files import Followed
from blindrelay.v1.channel import ExchangeCall, ExchangeChannel, Metadata
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.http_proxy import ChannelOptions

ChannelFactory = Callable[[ReplicaConfig], grpc.aio.Channel]
"""Makes the channel to a replica. A test can give another one, to see what crosses it."""


def open_channel(peer: PeerConfig) -> grpc.aio.Channel:
    """A channel as spec/protocol.md, section 7.1, asks for. Raises ConfigError for unusable TLS files."""
    target = str(peer.address)
    options: ChannelOptions = CHANNEL_OPTIONS
    if peer.proxy is not None:
        options = (*options, *peer.proxy.channel_options(target, peer.address.host))
        target = peer.proxy.address
    if peer.tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, peer.tls.credentials(), options=options)


class ReplicaChannel:
    """Calls to one bridge process, each over the channel that was the newest when it began."""

    def __init__(
        self,
        config: ReplicaConfig,
        open_channel: ChannelFactory,
        on_problem: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises ConfigError for unusable TLS files. `on_problem` is called if they become unusable later."""
        self._on_problem = on_problem
        tls = config.tls
        self._channels = Followed(
            lambda: None if tls is None else tls.version(), lambda: ExchangeChannel(open_channel(config))
        )
        self._newest = self._channels.first
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether the newest channel is connected."""
        return self._newest.grpc.get_state() is grpc.ChannelConnectivity.READY

    def exchange(self, metadata: Metadata, timeout: float) -> ExchangeCall:
        """Begins an exchange of at most `timeout` seconds."""
        return self._newest.exchange(metadata, timeout)

    async def directories(self, metadata: Metadata, timeout: float, *, wait_for_ready: bool) -> bytes:
        """An encoded GetKeyDirectoryResponse. Raises AioRpcError."""
        return await self._newest.directories(metadata, timeout, wait_for_ready=wait_for_ready)

    def follow_files(self) -> None:
        """Opens a new channel if the TLS files have changed. Running exchanges finish on the old one."""
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
        """Closes all channels, with the calls that run on them."""
        for closing in self._closing:
            closing.cancel()
        await asyncio.gather(*self._closing, self._newest.grpc.close(), return_exceptions=True)
