"""The relay's gRPC channel to a bridge process."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.http_proxy import ChannelOptions

ChannelFactory = Callable[[ReplicaConfig], grpc.aio.Channel]
"""What makes the channel to a replica; whoever gives another one sees what crosses it."""


def open_channel(replica: ReplicaConfig) -> grpc.aio.Channel:
    """A channel as spec/protocol.md, section 7.1 wants it. Raises ConfigError for unusable TLS files."""
    target = str(replica.address)
    options: ChannelOptions = CHANNEL_OPTIONS
    if replica.proxy is not None:
        options = (*options, *replica.proxy.channel_options(target, replica.address.host))
        target = replica.proxy.address
    if replica.tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, replica.tls.credentials(), options=options)
