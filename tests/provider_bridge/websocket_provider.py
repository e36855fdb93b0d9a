"""A provider that speaks WebSocket: another implementation's server, with a handler that a test scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.typing import Subprotocol

Handler = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class WebSocketProvider:
    """Serves `handler`, or sends every message back.

    `paths`, `headers` and `messages` are what came, `closes` the codes it ended with.
    """

    handler: Handler | None = None
    paths: list[str] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    messages: list[str | bytes] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    origin: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[WebSocketProvider]:
        async with serve(self._serve, "127.0.0.1", 0, select_subprotocol=_realtime, max_size=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.origin = f"http://127.0.0.1:{port}"
            yield self

    async def _serve(self, connection: ServerConnection) -> None:
        request = connection.request
        assert isinstance(request, Request)
        self.paths.append(request.path)
        self.headers.append(request.headers)
        try:
            await (self.handler or self._echo)(connection)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            self.closes.append(connection.close_code)

    async def _echo(self, connection: ServerConnection) -> None:
        async for message in connection:
            self.messages.append(message)
            await connection.send(message)


def _realtime(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((each for each in offered if each == "realtime"), None)
