"""A connection to a provider: TCP, perhaps through a proxy, and TLS."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import h11

from blindrelay.provider_bridge.upstream.connecting import connect
from blindrelay.provider_bridge.upstream.connection import HttpConnection
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.socket_stream import SocketStream
from blindrelay.provider_bridge.upstream.tls import secured
from blindrelay.v1.http_headers import Header

CONNECT_SECONDS: Final = 10.0
"""For DNS, TCP, proxy and TLS together."""

_USED_UP: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""The bridge's machine has no descriptor, memory or port left."""


@dataclass(frozen=True)
class ProxyRoute:
    """An HTTP proxy that takes CONNECT (RFC 9110, section 9.3.6).

    Attributes:
        authorization: gives the header that the proxy wants, or None.
    """

    host: str
    port: int
    authorization: Callable[[], Header | None]


@dataclass(frozen=True)
class Route:
    """How to reach a provider.

    Attributes:
        host: a name or an address, IPv6 without brackets.
        tls: gives the context for the next connection; None for plain HTTP.
    """

    host: str
    port: int
    tls: Callable[[], ssl.SSLContext] | None = None
    proxy: ProxyRoute | None = None


async def dial(route: Route) -> HttpConnection:
    """Connects. Raises UpstreamError."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return HttpConnection(await _dial(route))
    except TimeoutError:
        raise UpstreamError(
            Failure.TIMED_OUT,
            f"the provider could not be reached: no connection within {CONNECT_SECONDS:.0f} seconds",
        ) from None


async def _dial(route: Route) -> SocketStream:
    if route.proxy is None:
        stream = await _connected(route.host, route.port)
    else:
        stream = await _through(route.proxy, route)
    return stream if route.tls is None else await secured(stream, route.tls(), route.host)


async def _connected(host: str, port: int) -> SocketStream:
    try:
        return SocketStream(await connect(host, port))
    except TimeoutError:
        raise
    except OSError as error:
        raise _unreachable(error) from None


def _unreachable(error: OSError) -> UpstreamError:
    if isinstance(error, socket.gaierror):
        failure, reason = Failure.NAME_NOT_FOUND, "its name was not found"
    elif isinstance(error, ConnectionRefusedError):
        failure, reason = Failure.REFUSED, "the connection was refused"
    elif error.errno in _USED_UP:
        return UpstreamError(Failure.NO_CONNECTION_FREE, "the bridge can open no more connections")
    else:
        failure, reason = Failure.UNREACHABLE, "no route leads to it"
    return UpstreamError(failure, f"the provider could not be reached: {reason}")


async def _through(proxy: ProxyRoute, route: Route) -> SocketStream:
    try:
        connection = HttpConnection(await _connected(proxy.host, proxy.port))
    except UpstreamError as error:
        if error.failure is Failure.NO_CONNECTION_FREE:
            raise
        raise UpstreamError(
            Failure.PROXY_UNREACHABLE, "the provider could not be reached: the bridge's proxy is not there"
        ) from None
    try:
        await _ask(connection, proxy, route)
        return connection.switched()
    except BaseException:
        connection.close()
        raise


async def _ask(connection: HttpConnection, proxy: ProxyRoute, route: Route) -> None:
    host = f"[{route.host}]" if ":" in route.host else route.host
    target = f"{host}:{route.port}".encode("ascii")
    authorization = proxy.authorization()
    headers = [(b"host", target), *([] if authorization is None else [authorization])]
    try:
        head = await connection.request(h11.Request(method=b"CONNECT", target=target, headers=headers))
    except UpstreamError:
        reason = "the bridge's proxy gave no valid response"
    else:
        if 200 <= head.status_code < 300:
            return
        reason = f"the bridge's proxy refused with status {head.status_code}"
    raise UpstreamError(Failure.PROXY_REFUSED, f"the provider could not be reached: {reason}")
