"""How a provider is reached: TCP, perhaps through a proxy, and TLS."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import h11

from blindrelay.provider_bridge.providers import Provider, Proxy
from blindrelay.provider_bridge.upstream.connection import HttpConnection
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError, unreachable
from blindrelay.provider_bridge.upstream.socket_stream import SocketStream
from blindrelay.provider_bridge.upstream.tcp import connect_tcp
from blindrelay.provider_bridge.upstream.tls import only_roots_of, public_roots, start_tls
from blindrelay.serving.files import Latest
from blindrelay.serving.tls import OnProblem
from blindrelay.v1.http_headers import Header

CONNECT_SECONDS: Final = 10.0
"""For DNS, TCP, proxy and TLS together."""

_USED_UP: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""The bridge's machine has no descriptor, memory or port left."""


@dataclass(frozen=True)
class ProxyRoute:
    """An HTTP proxy that takes CONNECT (RFC 9110, section 9.3.6).

    Attributes:
        authorization: gives the header that the proxy requires, or None.
    """

    host: str
    port: int
    authorization: Callable[[], Header | None]


@dataclass(frozen=True)
class Route:
    """How to reach a provider.

    Attributes:
        host: a name or an address, IPv6 without brackets.
        idle_seconds: how long the provider may send nothing while a response is awaited.
        tls: gives the context for the next connection; None for plain HTTP.
    """

    host: str
    port: int
    idle_seconds: float
    tls: Callable[[], ssl.SSLContext] | None = None
    proxy: ProxyRoute | None = None


def route_to(provider: Provider, on_problem: OnProblem) -> Route:
    """Follows the provider's files; `on_problem` is told when one becomes unusable. Raises ConfigError."""
    target, ca = provider.target, provider.ca
    tls: Callable[[], ssl.SSLContext] | None = None
    if target.scheme == "https":
        tls = public_roots if ca is None else Latest((ca,), partial(only_roots_of, ca), on_problem)
    proxy = None if provider.proxy is None else _proxy_route(provider.proxy, on_problem)
    return Route(target.host.strip("[]"), target.port, provider.idle_seconds, tls, proxy)


async def connect(route: Route) -> HttpConnection:
    """Connects. Raises UpstreamError."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            proxy = route.proxy
            stream = await (_open(route.host, route.port) if proxy is None else _through(proxy, route))
            if route.tls is not None:
                stream = await start_tls(stream, route.tls(), route.host)
            return HttpConnection(stream, route.idle_seconds)
    except TimeoutError:
        raise unreachable(Failure.TIMED_OUT, f"no connection within {CONNECT_SECONDS:.0f} seconds") from None


def _proxy_route(proxy: Proxy, on_problem: OnProblem) -> ProxyRoute:
    credential = proxy.credential
    authorization = (lambda: None) if credential is None else credential.followed(on_problem)
    return ProxyRoute(proxy.address.host, proxy.address.port, authorization)


async def _open(host: str, port: int) -> SocketStream:
    try:
        return SocketStream(await connect_tcp(host, port))
    except TimeoutError:
        raise
    except socket.gaierror:
        raise unreachable(Failure.NAME_NOT_FOUND, "its name was not found") from None
    except ConnectionRefusedError:
        raise unreachable(Failure.REFUSED, "the connection was refused") from None
    except OSError as error:
        if error.errno in _USED_UP:
            message = "the bridge can open no more connections"
            raise UpstreamError(Failure.NO_CONNECTION_FREE, message) from None
        raise unreachable(Failure.UNREACHABLE, "no route leads to it") from None


async def _through(proxy: ProxyRoute, route: Route) -> SocketStream:
    try:
        connection = HttpConnection(await _open(proxy.host, proxy.port), CONNECT_SECONDS)
    except UpstreamError as error:
        if error.failure is Failure.NO_CONNECTION_FREE:
            raise
        raise unreachable(Failure.PROXY_UNREACHABLE, "the bridge's proxy does not respond") from None
    try:
        await _ask(connection, proxy, route)
        return connection.switched()
    except BaseException:
        connection.close()
        raise


async def _ask(connection: HttpConnection, proxy: ProxyRoute, route: Route) -> None:
    """Has the proxy connect. Raises UpstreamError."""
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
    raise unreachable(Failure.PROXY_REFUSED, reason)
