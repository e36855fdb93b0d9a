"""The endpoint's server: uvicorn on an open socket, with an immediate end."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.app import endpoint_app
from blindrelay.client.endpoint.exchange_log import ExchangeLog
from blindrelay.client.endpoint.http_protocol import Door
from blindrelay.client.endpoint.providers import Provider
from blindrelay.client.endpoint.request_target import Unsealed
from blindrelay.client.endpoint.routes import Routes
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.history_store import open_history
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.transport import SealedTransport

MAX_MESSAGE: Final = 33_554_432
"""Bytes of a WebSocket message from the program. Bridges take no more."""

_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than SDKs keep idle connections, so that we never close one that is about to be used."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; 0 is any free port. Raises ConfigurationError."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise ConfigurationError(f"--host is an address, such as 127.0.0.1 or ::1, not {host!r}") from None
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        # strerror is what create_server() makes of it, with a Python tuple in it.
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {reason}; --port 0 takes any free one"
        ) from None
    # asyncio turns off Nagle's algorithm only for sockets that name their protocol. With the algorithm, the
    # end of a response waits 40 ms for the acknowledgement of its beginning.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())


async def serve(
    listener: socket.socket,
    connection: ConnectionConfig,
    token: str,
    providers: Mapping[str, Provider],
    default: str,
    announce: Callable[[], None],
    *,
    show_content: bool = False,
    allowed_hosts: Iterable[str] = (),
    unsealed: Unsealed | None = None,
) -> signal.Signals:
    """Serves until a signal comes, or until it is cancelled; returns the signal. Running requests are ended.

    Signals come only in the main thread.

    Args:
        listener: from listen().
        token: the endpoint's token.
        providers: by name, from read_providers().
        default: the name of the provider for paths that several APIs share.
        announce: called once requests are accepted.
        show_content: whether to keep contents in memory, for a page that asks for the token.
        allowed_hosts: names for the endpoint in Host besides localhost.
        unsealed: counts requests that were refused because they would have left in clear.

    Raises:
        ConfigurationError: the file with the bridge's key history is damaged or open to others.
    """
    address, port = listener.getsockname()[:2]
    is_loopback = ipaddress.ip_address(address).is_loopback
    access = Access(token, port, open_to_others=not is_loopback, allowed_hosts=allowed_hosts)
    unsealed = unsealed or Unsealed()
    exchange_log = ExchangeLog(keeps_content=show_content)
    keys = KeyRing(connection.identity, time.time, open_history(connection))
    transport = SealedTransport(connection, observer=exchange_log.observe, keys=keys)
    app = endpoint_app(transport, keys, exchange_log, Routes(providers, default), access, unsealed)
    try:
        return await serve_app(app, access, listener, announce, unsealed)
    finally:
        await transport.aclose()


async def serve_app(
    app: ASGIApp,
    access: Access,
    listener: socket.socket,
    announce: Callable[[], None],
    unsealed: Unsealed | None = None,
) -> signal.Signals:
    """Serves any application as serve() does the endpoint's."""
    server = _Server(_config(app, Door(access, unsealed or Unsealed())), announce)
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        if server.started:
            await server.shutdown()
        raise
    return server.ended_by


def _config(app: ASGIApp, door: Door) -> uvicorn.Config:
    """uvicorn's settings: it logs nothing, adds nothing to responses, and limits everything."""
    return uvicorn.Config(
        app,
        access_log=False,
        date_header=False,
        http=door.protocol,  # type: ignore[arg-type] # any callable does that makes a protocol
        lifespan="off",
        log_config=None,
        log_level="critical",
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
    )


class _Server(uvicorn.Server):
    """A uvicorn server that ends at once, without waiting for requests."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self.ended_by = signal.SIGTERM

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.ended_by = signal.Signals(sig)
        self.should_exit = True
