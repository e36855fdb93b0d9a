"""The client's gRPC channel to the relay, and whether its connection can still be trusted."""

from __future__ import annotations

import time
from typing import Final

import grpc

from blindrelay.client.connection import Connection
from blindrelay.v1.channel import ExchangeChannel
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS

QUIET_SECONDS: Final = 20.0
"""Without a call, a channel is not trusted any more. The relay closes it after 30 s, and a machine that slept
or changed networks does not hear of that. A new connection costs what it would cost then."""

JUMP_SECONDS: Final = 5.0
"""More than a clock is set right by in passing; a sleep is longer."""


class RelayChannel(ExchangeChannel):
    """A channel that notices when its connection may have been lost."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(_open(connection), on_end=self.use)
        self._used_at = time.time()
        self._clocks_apart = clocks_apart()

    @property
    def is_doubtful(self) -> bool:
        """Whether the connection may have been lost without a word."""
        quiet = self.is_idle and abs(time.time() - self._used_at) > QUIET_SECONDS
        return quiet or abs(clocks_apart() - self._clocks_apart) > JUMP_SECONDS

    def use(self) -> None:
        """Notes that a call is about to begin."""
        self._used_at = time.time()


def clocks_apart() -> float:
    """Seconds between the wall clock and the monotonic one, which stops while the machine sleeps."""
    return time.time() - time.monotonic()


def _open(connection: Connection) -> grpc.aio.Channel:
    if not connection.tls:
        return grpc.aio.insecure_channel(connection.target, options=CHANNEL_OPTIONS)
    roots = connection.ca.expanduser().read_bytes() if connection.ca is not None else None
    credentials = grpc.ssl_channel_credentials(root_certificates=roots)
    if (proxy := connection.proxy) is None:
        return grpc.aio.secure_channel(connection.target, credentials, options=CHANNEL_OPTIONS)
    options = (*CHANNEL_OPTIONS, *proxy.channel_options(connection.target, connection.host))
    return grpc.aio.secure_channel(proxy.address, credentials, options=options)
