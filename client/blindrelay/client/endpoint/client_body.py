"""A request's body as the program sends it, and after it the watch for the program's going away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.types import Message, Receive


class ClientGoneError(Exception):
    """The program closed its connection in the middle of its request."""


IDLE_SECONDS: Final = 60.0
"""How long a body's next byte is waited for. What is not read for back-pressure does not count."""


class SlowBodyError(Exception):
    """The program sent nothing of its request's body for IDLE_SECONDS."""


class ClientBody:
    """Reads ASGI's messages, in one task at a time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = asyncio.Event()
        self.observer: Callable[[bytes], None] = _nobody
        """Is told each piece that is read."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece, none of it kept. Raises ClientGoneError, SlowBodyError."""
        more = True
        while more:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            if piece := message.get("body", b""):
                self.observer(piece)
                yield piece
        self.over()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await self._receive()
        except TimeoutError:
            raise SlowBodyError from None

    def over(self) -> None:
        """Says that nobody reads the body any more: what still comes is dropped."""
        self._over.set()

    async def client_gone(self) -> None:
        """Returns when the program has closed its connection, or has its whole response."""
        await self._over.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _nobody(_: bytes) -> None:
    pass
