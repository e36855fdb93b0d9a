"""A provider that speaks WebSocket: another implementation's server, with a handler that a test scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.patience import until

Handler = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class WebSocketProvider:
    """Serves `handler`, or sends every message back.

    `refuse_with` is a status and a body instead of the handshake. `paths`, `headers` and `messages` are what
    came; `closes` are the codes that connections ended with.
    """

    handler: Handler | None = None
    refuse_with: tuple[int, str] | None = None
    paths: list[str] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    messages: list[str | bytes] = field(default_factory=list)
    closes: list[int | None] = field(default_factory=list)
    origin: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[WebSocketProvider]:
        options: Any = {
            "process_request": self._refusal,
            "max_size": None,
            "open_timeout": 60,
            "ping_interval": None,
        }
        options["select_subprotocol"] = lambda _, offered: "realtime" if "realtime" in offered else None
        async with serve(self._serve, "127.0.0.1", 0, **options) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.origin = f"http://127.0.0.1:{port}"
            yield self

    async def ended(self, times: int) -> list[int | None]:
        await until(lambda: len(self.closes) >= times)
        return self.closes

    def forget(self) -> None:
        """Starts with empty records. A connection that is still open writes into the old ones."""
        self.handler = self.refuse_with = None
        self.paths, self.headers, self.messages, self.closes = [], [], [], []

    def _refusal(self, connection: ServerConnection, _: Request) -> Response | None:
        return None if self.refuse_with is None else connection.respond(*self.refuse_with)

    async def _serve(self, connection: ServerConnection) -> None:
        request = connection.request
        assert isinstance(request, Request)
        self.paths.append(request.path)
        self.headers.append(request.headers)
        closes = self.closes
        with suppress(ConnectionClosed):
            await (self.handler or self._echo)(connection)
        await connection.wait_closed()
        closes.append(connection.protocol.close_code)

    async def _echo(self, connection: ServerConnection) -> None:
        messages = self.messages
        async for message in connection:
            messages.append(message)
            await connection.send(message)
