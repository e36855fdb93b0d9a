"""A provider on a raw socket: it answers byte for byte what a test scripts, and sees what really arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Received:
    """One HTTP request as it came over the socket."""

    request_line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def named(self) -> dict[bytes, bytes]:
        return dict(self.headers)


@dataclass
class Connection:
    """One socket of the bridge's."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def gone(self) -> None:
        """Waits until the bridge has closed its side."""
        with suppress(ConnectionError):
            while await self.reader.read(1):
                pass

    def cut(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Connection, Received], Awaitable[None]]


def answer(body: bytes = b"{}", *, status: bytes = b"200 OK", headers: bytes = b"") -> Script:
    """A whole response with a content-length, in one piece; `headers` are lines that end in CR LF."""

    async def script(connection: Connection, _: Received) -> None:
        length = b"content-length: %d\r\n" % len(body)
        await connection.send(b"HTTP/1.1 " + status + b"\r\n" + length + headers + b"\r\n" + body)

    return script


def raw(data: bytes, *, cut: bool = False, close: bool = False) -> Script:
    """Exactly these bytes, and then perhaps the end of the connection, with or without a reset."""

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(data)
        if cut:
            await asyncio.sleep(0.05)
            connection.cut()
        if close:
            connection.writer.close()

    return script


EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class FakeProvider:
    """Serves `script` to every request; `received` is what came."""

    script: Script = field(default_factory=answer)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeProvider]:
        running: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            running.add(task)
            self.connections += 1
            try:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    while not writer.is_closing():
                        received = await _read_request(reader)
                        self.received.append(received)
                        await self.script(Connection(reader, writer), received)
            finally:
                writer.close()
                running.discard(task)

        server = await asyncio.start_server(serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await asyncio.sleep(0)  # the transports close in the next turn of the loop


async def _read_request(reader: asyncio.StreamReader) -> Received:
    section = await reader.readuntil(b"\r\n\r\n")
    request_line, *lines = section[:-4].split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    size = int(dict(headers).get(b"content-length", b"0"))
    return Received(request_line, headers, await reader.readexactly(size))
