"""A request's body as the program sends it, and the watch for a program that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.types import Message, Receive


class ClientGoneError(Exception):
    """The program closed its connection in the middle of its request."""


IDLE_SECONDS: Final = 60.0
"""How long the body's next byte may take. Time in which back-pressure stops reading does not count."""


class SlowBodyError(Exception):
    """No byte of the request's body came for IDLE_SECONDS."""


class ClientBody:
    """The body of one request. Iterating over it reads it once and keeps nothing.

    Raises ClientGoneError and SlowBodyError while it is read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = asyncio.Event()
        self.observer: Callable[[bytes], None] = _ignore
        """Called with all data that is read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            if data := message.get("body", b""):
                self.observer(data)
                yield data
        self.over()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await self._receive()
        except TimeoutError:
            raise SlowBodyError from None

    def over(self) -> None:
        """Ends reading: data that still comes is dropped."""
        self._over.set()

    async def client_gone(self) -> None:
        """Returns when the program has closed its connection or has its whole response."""
        await self._over.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _ignore(_: bytes) -> None:
    pass
