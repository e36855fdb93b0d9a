"""As much of an HTTP/1.1 server as a scripted provider needs, on asyncio's streams.

A response's pieces are written as they come; one that breaks off ends the connection in the middle, as a
crash would.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

MAX_HEAD: Final = 65_536
"""Bytes of a request's line and headers."""

MAX_BODY: Final = 256 * 1024 * 1024
"""Bytes of a request's body; all of it is held."""


class BreakOffError(Exception):
    """Raised by a response's pieces: the connection ends here, in the middle of the response."""


@dataclass(frozen=True)
class Request:
    """One request, whole."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """The first value of a header, or ""."""
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True)
class Response:
    """What goes back: with a known length, or chunked if `length` is None."""

    pieces: AsyncIterator[bytes]
    length: int | None = None
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    ended: Callable[[str], None] = lambda outcome: None
    """Hears how it ended: "answered", "broken off", or "abandoned" by the peer."""

    def head(self) -> bytes:
        framing = "Transfer-Encoding: chunked" if self.length is None else f"Content-Length: {self.length}"
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.content_type}",
            framing,
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


Answering = Callable[[Request], Response]


@dataclass(frozen=True)
class Connection:
    """Serves one connection: request after request, until either side is done."""

    answering: Answering

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                response = self.answering(request)
                outcome = await _deliver(response, request.method, reader, writer)
                response.ended(outcome)
                if outcome != "answered":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # Nothing that can be said to a peer that is gone or speaks no HTTP.
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _deliver(
    response: Response, method: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> str:
    """Writes the response, and stops at once if the peer goes away meanwhile. Returns how it ended."""
    writing = asyncio.create_task(_write(response, method, writer))
    leaving = asyncio.create_task(reader.read(1))
    await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
    outcome = await _finish(writing) if writing.done() else "abandoned"
    for task in (writing, leaving):
        task.cancel()
    await asyncio.gather(writing, leaving, return_exceptions=True)
    return outcome


async def _finish(writing: asyncio.Task[None]) -> str:
    try:
        await writing
    except BreakOffError:
        return "broken off"
    except ConnectionError:
        return "abandoned"
    return "answered"


async def _write(response: Response, method: str, writer: asyncio.StreamWriter) -> None:
    writer.write(response.head())
    await writer.drain()
    if method == "HEAD":
        return
    chunked = response.length is None
    async for piece in response.pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """Reads one request, or None at the connection's end. Raises ValueError for what is not HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    line, *fields = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (field.partition(":") for field in fields))
    request = Request(method, target, headers, b"")
    return Request(method, target, headers, await _read_body(request, reader))


async def _read_body(request: Request, reader: asyncio.StreamReader) -> bytes:
    if request.header("transfer-encoding").lower() == "chunked":
        return await _read_chunks(reader)
    size = int(request.header("content-length") or 0)
    if not 0 <= size <= MAX_BODY:
        raise ValueError("the body is larger than this server takes")
    return await reader.readexactly(size)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if len(body) > MAX_BODY:
            raise ValueError("the body is larger than this server takes")
    await reader.readuntil(b"\r\n")
    return bytes(body)
