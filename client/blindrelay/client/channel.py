"""One gRPC channel to the relay, which counts its calls and knows how long it was idle."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import grpc

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.v1.exchange_call import ExchangeCall, ExchangeMethod, Metadata
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS, KEY_DIRECTORY_METHOD

QUIET_SECONDS: Final = 20.0
"""A channel that had no call for this long is replaced. The relay closes it after 30 s, and a machine that
slept or changed networks is not told. A new connection costs no more than it would then."""

JUMP_SECONDS: Final = 5.0
"""Clock corrections are smaller than this, and sleeps are longer."""


class RelayChannel:
    """A channel that belongs to the event loop it was made in."""

    def __init__(self, config: ConnectionConfig) -> None:
        self.grpc = _open(config)
        self._exchange = ExchangeMethod(self.grpc)
        self._directories: Any = self.grpc.unary_unary(KEY_DIRECTORY_METHOD)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._used_at = time.time()
        self._clocks_apart = clocks_apart()

    @property
    def is_doubtful(self) -> bool:
        """Whether the connection may have been lost unnoticed."""
        quiet = not self._running and abs(time.time() - self._used_at) > QUIET_SECONDS
        return quiet or abs(clocks_apart() - self._clocks_apart) > JUMP_SECONDS

    def use(self) -> None:
        """Notes that a call is about to begin."""
        self._used_at = time.time()

    def exchange(self, only_message: bytes | None, metadata: Metadata, timeout: float) -> ExchangeCall:
        """Begins an exchange, as ExchangeMethod does."""
        call = self._exchange.begin(only_message, metadata, timeout)
        self._begun(call)
        return call

    async def directories(self, metadata: Metadata, timeout: float) -> bytes:
        """An encoded GetKeyDirectoryResponse. Raises AioRpcError."""
        call = self._directories(b"", metadata=metadata, timeout=timeout)
        self._begun(call)
        encoded: bytes = await call
        return encoded

    async def close_when_idle(self) -> None:
        """Closes the channel when the calls on it have ended."""
        try:
            await self._idle.wait()
        finally:
            await self.grpc.close()

    def _begun(self, call: Any) -> None:
        self._running += 1
        self._idle.clear()
        call.add_done_callback(self._ended)

    def _ended(self, _: object) -> None:
        self._running -= 1
        self.use()
        if not self._running:
            self._idle.set()


def clocks_apart() -> float:
    """Seconds between the wall clock and the monotonic one, which stops while the machine sleeps."""
    return time.time() - time.monotonic()


def _open(config: ConnectionConfig) -> grpc.aio.Channel:
    if not config.tls:
        return grpc.aio.insecure_channel(config.target, options=CHANNEL_OPTIONS)
    roots = config.ca.expanduser().read_bytes() if config.ca is not None else None
    credentials = grpc.ssl_channel_credentials(root_certificates=roots)
    if (proxy := config.proxy) is None:
        return grpc.aio.secure_channel(config.target, credentials, options=CHANNEL_OPTIONS)
    options = (*CHANNEL_OPTIONS, *proxy.channel_options(config.target, config.host))
    return grpc.aio.secure_channel(proxy.address, credentials, options=options)
