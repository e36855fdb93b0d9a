"""A request's body as the program sends it, and after it the watch for the program's going away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from starlette.types import Receive


class ClientGoneError(Exception):
    """The program closed its connection in the middle of its request."""


class ClientBody:
    """Reads ASGI's messages, in one task at a time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = asyncio.Event()
        self.observer: Callable[[bytes], None] = _nobody
        """Is told each piece that is read."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece, none of it kept. Raises ClientGoneError."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            more = message.get("more_body", False)
            if piece := message.get("body", b""):
                self.observer(piece)
                yield piece
        self.over()

    def over(self) -> None:
        """Says that nobody reads the body any more: what still comes is dropped."""
        self._over.set()

    async def client_gone(self) -> None:
        """Returns when the program has closed its connection, or has its whole answer."""
        await self._over.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _nobody(_: bytes) -> None:
    pass
