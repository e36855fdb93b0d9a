"""A provider that costs little: chat completions of any size and pace, as the model's name asks for.

    python -m bench.provider [--port PORT]

It prints {"listening": "127.0.0.1:PORT"} when it listens. Responses have OpenAI's shape; their bytes are made
once. The testbed's scripted provider can do far more, and takes ten times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from functools import lru_cache
from typing import Any, Final

from bench.work import LOOKED_AT, Work

_END: Final = b"data: [DONE]\n\n"
_LARGEST_TEXT: Final = 1_048_576
"""Bytes of text that are written at once; a longer one goes as several writes, with back-pressure between."""


class _Connection(asyncio.Protocol):
    """Serves one connection: request after request, none before the last is answered."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answering is None:
            self._serve_next()

    def _serve_next(self) -> None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _content_length(bytes(self._received[:end]))
        whole = end + 4 + length
        if len(self._received) < whole:
            return
        # Of a large body only its ends are looked at, and no more is copied.
        ends = (
            self._received[end + 4 : whole]
            if length < 2 * LOOKED_AT
            else (self._received[end + 4 : end + 4 + LOOKED_AT] + self._received[whole - LOOKED_AT : whole])
        )
        work = Work.of(bytes(ends))
        del self._received[:whole]
        if work.first_seconds or work.pieces_per_second or work.piece_bytes > _LARGEST_TEXT:
            self._answering = asyncio.create_task(self._answer_in_time(work))
        else:
            self._transport.write(_whole_answer(work))

    async def _answer_in_time(self, work: Work) -> None:
        await asyncio.sleep(work.first_seconds)
        if work.pieces:
            await self._stream(work)
        else:
            await self._write_large(work)
        self._answering = None
        self._serve_next()

    async def _stream(self, work: Work) -> None:
        """The n-th piece leaves n / rate after the first, whatever the sleeps before it took."""
        loop = asyncio.get_running_loop()
        began, piece = loop.time(), _chunk(_event(work.piece_bytes))
        self._transport.write(_STREAM_HEAD + piece)
        for number in range(1, work.pieces):
            if work.pieces_per_second:
                await asyncio.sleep(began + number / work.pieces_per_second - loop.time())
            await self._writable.wait()
            self._transport.write(piece)
        self._transport.write(_chunk(_END) + b"0\r\n\r\n")

    async def _write_large(self, work: Work) -> None:
        before, after = _body_around_text()
        self._transport.write(_head(len(before) + work.piece_bytes + len(after)) + before)
        text, left = b"x" * _LARGEST_TEXT, work.piece_bytes
        while left:
            await self._writable.wait()
            self._transport.write(text[:left])
            left -= min(left, _LARGEST_TEXT)
        self._transport.write(after)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@lru_cache(maxsize=64)
def _whole_answer(work: Work) -> bytes:
    if work.pieces:
        return _STREAM_HEAD + _chunk(_event(work.piece_bytes)) * work.pieces + _chunk(_END) + b"0\r\n\r\n"
    before, after = _body_around_text()
    return _head(len(before) + work.piece_bytes + len(after)) + before + b"x" * work.piece_bytes + after


def _head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length


_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(size: int) -> bytes:
    delta = {"index": 0, "delta": {"content": "x" * size}, "finish_reason": None}
    given = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "w", "choices": [delta]}
    return b"data: " + json.dumps(given).encode() + b"\n\n"


def _body_around_text() -> tuple[bytes, bytes]:
    message = {"role": "assistant", "content": "|"}
    given = {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "w",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    before, _, after = json.dumps(given).encode().partition(b"|")
    return before, after


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", port, backlog=4_096)
    host, bound = server.sockets[0].getsockname()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    sys.stdout.write(json.dumps({"listening": f"{host}:{bound}"}) + "\n")
    sys.stdout.flush()
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.provider", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
