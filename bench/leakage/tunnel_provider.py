"""A provider of WebSockets in this process, and a relay and a bridge that lead to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from blindrelay.testbed import Testbed
from blindrelay.testbed.trace.scene import bed_of

TUNNEL: Final = "https://api.openai.com/v1/realtime?model="
"""The number of a tunnel follows, as the name of a model."""

_OPTIONS: Final[dict[str, Any]] = {"open_timeout": None, "ping_interval": None, "compression": None}


class TunnelProvider:
    """Hands out its connections, by the number at the end of their URL. It drops what it is told."""

    def __init__(self) -> None:
        self._open: defaultdict[str, asyncio.Future[ServerConnection]] = defaultdict(
            asyncio.get_running_loop().create_future
        )

    async def connection(self, number: int) -> ServerConnection:
        """The connection of a tunnel, once it has been opened."""
        return await self._open[str(number)]

    async def serve(self, connection: ServerConnection) -> None:
        """Serves one connection until it is closed."""
        if connection.request is not None:
            self._open[connection.request.path.rpartition("=")[2]].set_result(connection)
        with suppress(ConnectionClosed):
            async for _ in connection:
                pass


@asynccontextmanager
async def tunnel_bed(seen: Path | None) -> AsyncIterator[tuple[TunnelProvider, Testbed]]:
    """A running bed, whose relay has a tap if `seen` is the file for it. Raises TestbedError."""
    provider = TunnelProvider()
    async with serve(provider.serve, "127.0.0.1", 0, **_OPTIONS) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        bed = bed_of(f"http://127.0.0.1:{port}", seen)
        await asyncio.to_thread(bed.up)
        try:
            yield provider, bed
        finally:
            await asyncio.to_thread(bed.down)
