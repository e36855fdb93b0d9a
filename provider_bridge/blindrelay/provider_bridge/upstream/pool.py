"""The connections to one provider: how many at once, and which are idle."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from blindrelay.provider_bridge.upstream.connection import HttpConnection
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError

MAX_CONNECTIONS: Final = 2_000
"""In use at once with one provider: as many as a bridge runs exchanges by default."""

WAIT_SECONDS: Final = 5.0
"""Seconds for a connection when all are in use."""

MAX_IDLE: Final = 100
IDLE_SECONDS: Final = 30.0
"""How long an idle connection is kept; common servers close theirs after 60 s or later."""


class Pool:
    """Connections in use and idle ones.

    A caller gives each connection back exactly once. Only lease() waits, so no place can be lost.
    """

    def __init__(self, connect: Callable[[], Awaitable[HttpConnection]]) -> None:
        self._connect = connect
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._in_use: set[HttpConnection] = set()
        self._idle: deque[tuple[float, HttpConnection]] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def in_use(self) -> int:
        """Connections that carry a request or a WebSocket now."""
        return len(self._in_use)

    async def lease(self) -> HttpConnection:
        """A connection for the caller alone. Raises UpstreamError."""
        await self._take_place()
        try:
            connection = self._from_idle() or await self._connect()
        except BaseException:
            self._places.release()
            raise
        self._in_use.add(connection)
        return connection

    def give_back(self, connection: HttpConnection) -> None:
        """Keeps the connection if it can carry another request, and closes it otherwise."""
        self._in_use.discard(connection)
        self._places.release()
        if len(self._idle) < MAX_IDLE and connection.renew():
            now = asyncio.get_running_loop().time()
            self._idle.append((now + IDLE_SECONDS, connection))
            if self._sweep is None:
                self._sweep_at(now + IDLE_SECONDS)
        else:
            connection.close()

    def close(self) -> None:
        """Closes every connection, including those in use."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in (*self._in_use, *(idle for _, idle in self._idle)):
            connection.close()
        self._idle.clear()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise UpstreamError(
                Failure.NO_CONNECTION_FREE, "all of the bridge's connections to the provider are in use"
            ) from None

    def _from_idle(self) -> HttpConnection | None:
        """The one that was used last, if the provider has kept it open."""
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_quiet:
                return connection
            connection.close()
        return None

    def _sweep_at(self, when: float) -> None:
        self._sweep = asyncio.get_running_loop().call_at(when, self._close_expired)

    def _close_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._idle and self._idle[0][0] <= now:
            self._idle.popleft()[1].close()
        self._sweep = None
        if self._idle:
            self._sweep_at(self._idle[0][0])
