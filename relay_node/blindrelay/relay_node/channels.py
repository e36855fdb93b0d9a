"""The relay's gRPC channel to a bridge process."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from blindrelay.relay_node.config import ReplicaConfig
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS

ChannelFactory = Callable[[ReplicaConfig], grpc.aio.Channel]
"""What makes the channel to a replica; whoever gives another one sees what crosses it."""


def open_channel(replica: ReplicaConfig) -> grpc.aio.Channel:
    """A channel as spec/protocol.md, section 7.1 wants it. Raises ConfigError for unusable TLS files."""
    target = str(replica.address)
    if replica.tls is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(target, replica.tls.credentials(), options=CHANNEL_OPTIONS)
