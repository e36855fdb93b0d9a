"""Calls to providers of many kinds, each cancelled at a random moment, and what they leave behind."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from typing import Any, Final
from unittest.mock import patch

import h11

from blindrelay.provider_bridge.providers import IDLE_SECONDS
from blindrelay.provider_bridge.upstream import pool
from blindrelay.provider_bridge.upstream.failures import UpstreamError
from blindrelay.provider_bridge.upstream.route import Route
from blindrelay.provider_bridge.upstream.tls import public_roots
from blindrelay.provider_bridge.upstream.transport import UpstreamTransport

from .soak import Growth, Sample

CONNECTIONS: Final = 8
"""At most, with each provider: fewer than there are calls."""

_AT_ONCE: Final = 32
_LONGEST: Final = 0.01
"""Seconds until a call is cancelled, at most. Half are cancelled after a few turns of the event loop."""

_BODY: Final = 100
_HEAD: Final = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_SWITCH: Final = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
_UPGRADE: Final = [("connection", "upgrade"), ("upgrade", "websocket")]
_MOODS: Final = ("prompt", "slow", "silent", "stuck", "tunnel")
_SIZES: Final = {"tunnel": 0, "stuck": 4_000_000}

Transports = dict[str, UpstreamTransport]


class Cancellations:
    """A constant mix of calls."""

    def __init__(self, transports: Transports) -> None:
        self._transports = transports
        self._random = random.Random(0)
        self._samples: list[Sample] = []

    async def run(self, rounds: int, each: int) -> None:
        """Runs rounds of `each` calls, and takes a sample after each round."""
        for _round in range(rounds):
            numbers = iter(range(each))
            await asyncio.gather(*(self._work(numbers) for _ in range(_AT_ONCE)))
            self._samples.append(Sample.of(os.getpid(), (len(self._samples) + 1) * each))

    def take_last_sample_again(self) -> None:
        """Replaces it when more may have ended."""
        last = self._samples.pop()
        self._samples.append(Sample.of(os.getpid(), last.exchanges))

    @property
    def growth(self) -> Growth:
        """What this process keeps of each call."""
        return Growth.of(self._samples)

    @property
    def in_use(self) -> dict[str, int]:
        """Connections that were not returned to the pool, by provider."""
        return {name: each.pool.in_use for name, each in self._transports.items() if each.pool.in_use}

    async def use_every_place(self) -> None:
        """Makes as many calls at once as are allowed. Raises UpstreamError, or TimeoutError."""
        transport = self._transports["prompt"]
        with ExitStack() as stack:
            async with asyncio.timeout(60):
                for _ in range(CONNECTIONS):
                    _, response = await transport.send(_request("prompt"), bytearray(_BODY))
                    stack.callback(response.close)

    async def _work(self, numbers: Iterator[int]) -> None:
        for _number in numbers:
            mood = self._random.choice(list(self._transports))
            call = asyncio.create_task(_call(self._transports[mood], mood))
            if self._random.random() < 0.5:
                for _turn in range(self._random.randrange(20)):
                    await asyncio.sleep(0)
            else:
                await asyncio.wait([call], timeout=self._random.uniform(0, _LONGEST))
            call.cancel()
            with suppress(asyncio.CancelledError, UpstreamError):
                await call


async def _call(transport: UpstreamTransport, mood: str) -> None:
    _, response = await transport.send(_request(mood), bytearray(_SIZES.get(mood, _BODY)))
    try:
        if mood == "tunnel":
            await response.switched().arrival()
        while mood != "tunnel" and not response.ended:
            if not response.take(1_000):
                await response.arrival(None)
    finally:
        response.close()


def _request(mood: str) -> h11.Request:
    tunnel = mood == "tunnel"
    length = ("content-length", str(_SIZES.get(mood, _BODY)))
    headers = [("host", "provider.example"), *(_UPGRADE if tunnel else [length])]
    return h11.Request(method="GET" if tunnel else "POST", target=f"/{mood}", headers=headers)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
        while True:
            mood = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1][1:].decode()
            if mood == "stuck":
                await asyncio.sleep(5 * _LONGEST)
                return
            if mood == "tunnel":
                writer.write(_SWITCH)
            if mood in ("tunnel", "silent"):
                await reader.read()
                return
            await reader.readexactly(_BODY)
            writer.write(_HEAD)
            for _piece in range(5):
                await asyncio.sleep(0.002 if mood == "slow" else 0.0)
                writer.write(b"3\r\nabc\r\n")
                await writer.drain()
            writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def providers() -> AsyncIterator[Transports]:
    """A transport to a provider of each kind."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(pool, "MAX_CONNECTIONS", CONNECTIONS))
        full, mute = (
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog)) for backlog in (0, 9)
        )
        for _filler in range(4):  # further attempts to connect get no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        server = await asyncio.start_server(_serve, "127.0.0.1", 0)
        routes = {mood: _route(server.sockets[0]) for mood in _MOODS}
        routes |= {"full": _route(full), "mute": _route(mute, public_roots)}
        transports = {mood: UpstreamTransport(route) for mood, route in routes.items()}
        try:
            yield transports
        finally:
            for transport in transports.values():
                transport.close()
            server.close()


def _route(listener: Any, *tls: Any) -> Route:
    return Route("127.0.0.1", listener.getsockname()[1], IDLE_SECONDS, *tls)
