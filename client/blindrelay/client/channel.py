"""The client's gRPC channel to the relay, and whether its connection can still be trusted."""

from __future__ import annotations

import time
from typing import Final

import grpc

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.v1.channel import ExchangeChannel
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, RUN_AHEAD

QUIET_SECONDS: Final = 20.0
"""A channel that had no call for this long is replaced. The relay closes it after 30 s, and a machine that
slept or changed networks is not told. A new connection costs no more than it would then."""

JUMP_SECONDS: Final = 5.0
"""Clock corrections are smaller than this, and sleeps are longer."""

OPTIONS: Final = (*CHANNEL_OPTIONS, RUN_AHEAD)
"""gRPC's options for a channel to the relay."""


class RelayChannel(ExchangeChannel):
    """A channel that notices when its connection may have been lost."""

    def __init__(self, config: ConnectionConfig) -> None:
        super().__init__(_open(config))
        self._used_at = time.time()
        self._clocks_apart = clocks_apart()

    @property
    def is_doubtful(self) -> bool:
        """Whether the connection may have been lost unnoticed."""
        quiet = self.is_idle and abs(time.time() - self._used_at) > QUIET_SECONDS
        return quiet or abs(clocks_apart() - self._clocks_apart) > JUMP_SECONDS

    def use(self) -> None:
        """Notes that a call is about to begin."""
        self._used_at = time.time()

    def call_ended(self) -> None:
        """Notes that a call has ended."""
        self.use()


def clocks_apart() -> float:
    """Seconds between the wall clock and the monotonic one, which stops while the machine sleeps."""
    return time.time() - time.monotonic()


def _open(config: ConnectionConfig) -> grpc.aio.Channel:
    if not config.tls:
        return grpc.aio.insecure_channel(config.target, options=OPTIONS)
    roots = config.ca.expanduser().read_bytes() if config.ca is not None else None
    credentials = grpc.ssl_channel_credentials(root_certificates=roots)
    if (proxy := config.proxy) is None:
        return grpc.aio.secure_channel(config.target, credentials, options=OPTIONS)
    options = (*OPTIONS, *proxy.channel_options(config.target, config.host))
    return grpc.aio.secure_channel(proxy.address, credentials, options=options)
