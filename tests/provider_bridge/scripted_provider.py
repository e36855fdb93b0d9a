"""A scripted provider on a raw socket: it sends the bytes that a test says, and keeps what it received."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trustme

from tests.patience import PATIENCE, until

EVENT_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass
class Received:
    request_line: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def named(self) -> dict[bytes, bytes]:
        return dict(self.headers)


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: Received = field(default_factory=Received)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Waits until the bridge has closed its side."""
        with suppress(ConnectionError):
            while await self.reader.read(65_536):
                pass


Script = Callable[[Connection], Awaitable[None]]


def response(body: bytes = b"{}", *, status: bytes = b"200 OK", headers: bytes = b"") -> Script:
    """A whole response with a content-length; `headers` are lines that end in CR LF."""
    length = b"content-length: %d\r\n" % len(body)
    return raw(b"HTTP/1.1 " + status + b"\r\n" + length + headers + b"\r\n" + body)


def raw(data: bytes, *, cut: bool = False, close: bool = False) -> Script:
    """Exactly these bytes. Then the connection stays open, unless it is to be reset (cut) or closed."""

    async def script(connection: Connection) -> None:
        await connection.send(data)
        if cut:
            await asyncio.sleep(0.05)
            connection.writer.transport.abort()
        if close:
            connection.writer.close()

    return script


def stepwise(release: asyncio.Semaphore, first: bytes, *more: bytes) -> Script:
    async def script(connection: Connection) -> None:
        await connection.send(first)
        for data in more:
            await release.acquire()
            await connection.send(data)

    return script


async def flood(connection: Connection) -> None:
    await connection.send(EVENT_STREAM)
    while True:
        await connection.send(chunk(b"x" * 65_536))


def certified(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@dataclass
class ScriptedProvider:
    """Runs `script` for every request; `received` is what came.

    A `bare` one runs the script for every connection and reads nothing itself.
    """

    script: Script = field(default_factory=response)
    tls: ssl.SSLContext | None = None
    bare: bool = False
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ScriptedProvider]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls, limit=1 << 20)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._running):
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            for writer in self._writers:
                writer.transport.abort()  # closing TLS would wait for the other side
            await asyncio.sleep(0)  # the transports close in the next turn of the loop

    async def asked(self, times: int = 1) -> None:
        """Waits until so many requests have come."""
        await until(lambda: len(self.received) >= times)

    async def idle(self) -> None:
        """Waits until the bridge has closed every connection."""
        await asyncio.wait_for(asyncio.gather(*self._running, return_exceptions=True), PATIENCE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self._writers.append(writer)
        self.connections += 1
        connection = Connection(reader, writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                if self.bare:
                    await self.script(connection)
                while not self.bare and not writer.is_closing():
                    connection.request = await _read_request(reader)
                    self.received.append(connection.request)
                    await self.script(connection)
        finally:
            writer.close()
            self._running.discard(task)


async def _read_request(reader: asyncio.StreamReader) -> Received:
    section = await reader.readuntil(b"\r\n\r\n")
    request_line, *lines = section[:-4].split(b"\r\n")
    headers = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
    size = int(dict(headers).get(b"content-length", b"0"))
    return Received(request_line, headers, await reader.readexactly(size))
