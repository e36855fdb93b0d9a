"""An HTTP proxy with CONNECT (RFC 9110, section 9.3.6) that sends every name to this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from blindrelay.client.portal import Portal


@dataclass
class ConnectProxy:
    """`status` is its response to every request."""

    status: int = 200
    port: int = 0
    requests: list[str] = field(default_factory=list)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 %d Nothing\r\n\r\n" % self.status)
            if self.status == 200:
                port = int(self.requests[-1].split()[1].rpartition(":")[2])
                there = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@contextmanager
def connect_proxy(status: int = 200) -> Iterator[ConnectProxy]:
    proxy, portal = ConnectProxy(status), Portal()
    portal.call(proxy.start())
    try:
        yield proxy
    finally:
        portal.call(proxy.stop())
        portal.close()
