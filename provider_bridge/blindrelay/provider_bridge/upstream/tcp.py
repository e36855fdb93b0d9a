"""TCP connections: resolves a name and tries its addresses side by side, as RFC 8305 describes."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, Final

ATTEMPT_SECONDS: Final = 0.25
"""Seconds until the next address is tried as well (RFC 8305, section 8)."""

KEEP_ALIVE_SECONDS: Final = 60
"""A model may think for an hour, and middleboxes forget quiet TCP connections after minutes."""

_IN_PROGRESS: Final = (errno.EINPROGRESS, errno.EWOULDBLOCK)

AddressInfo = tuple[Any, Any, int, str, Any]
"""One item of getaddrinfo()."""


async def connect_tcp(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket. Raises socket.gaierror for an unknown name, and OSError."""
    addresses = _interleaved(await _resolve(host, port))
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await _first_connected(addresses)


async def _resolve(host: str, port: int) -> Sequence[AddressInfo]:
    try:
        # An address needs no thread.
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "malformed name") from None


def _interleaved(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The families in turn, each in its own order (RFC 8305, section 4)."""
    families: dict[Any, list[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]


async def _first_connected(addresses: list[AddressInfo]) -> socket.socket:
    """Tries one after the other, each at most ATTEMPT_SECONDS after the last. Raises the first failure."""
    untried, running = addresses[::-1], set[asyncio.Task[socket.socket]]()
    failures: list[BaseException] = []
    try:
        while untried or running:
            if untried:
                running.add(asyncio.create_task(_connect(untried.pop())))
            done, _ = await asyncio.wait(
                running,
                timeout=ATTEMPT_SECONDS if untried else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                running.discard(attempt)
                if (failure := attempt.exception()) is None:
                    running |= done - {attempt}
                    return attempt.result()
                failures.append(failure)
        raise failures[0]
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_close_unused)


def _close_unused(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: AddressInfo) -> socket.socket:
    # loop.sock_connect() would not do: a cancelled one removes its watch after the descriptor is closed, and
    # perhaps in use again.
    family, kind, protocol, _, target = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        _set_options(sock)
        code = sock.connect_ex(target)
        if code in _IN_PROGRESS:
            await writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        return sock
    except BaseException:
        sock.close()
        raise


def _set_options(sock: socket.socket) -> None:
    """No delay for small writes, and TCP keep-alive probes, which neither application sees."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Linux calls the time before the first probe TCP_KEEPIDLE, macOS TCP_KEEPALIVE.
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
        if (option := getattr(socket, name, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, KEEP_ALIVE_SECONDS)


async def readable(sock: socket.socket) -> None:
    """Waits until a socket that is not a SocketStream yet can be read."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_reader, loop.remove_reader)


async def writable(sock: socket.socket) -> None:
    """Waits until a socket that is not a SocketStream yet can be written."""
    loop = asyncio.get_running_loop()
    await _ready(sock, loop.add_writer, loop.remove_writer)


async def _ready(sock: socket.socket, add: Callable[..., None], remove: Callable[[int], Any]) -> None:
    ready, descriptor = asyncio.Event(), sock.fileno()
    add(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        remove(descriptor)
