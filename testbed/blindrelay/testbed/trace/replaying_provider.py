"""A provider that replays the texts of a file, each with its gaps, as OpenAI streams a chat.

    python -m blindrelay.testbed.trace.replaying_provider FILE [--port PORT]

The last word of a request's last message is the number of the text, from 0. FILE is described in texts.py.
A piece of text is one event of one write. When it listens it prints {"listening": "127.0.0.1:PORT"}.
SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import string
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from blindrelay.testbed.errors import InputError
from blindrelay.testbed.trace.texts import Replay, pieces, read_texts

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nconnection: keep-alive\r\nopenai-version: 2020-10-01\r\n\r\n"
)
_ERROR_HEAD: Final = (
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
_ERROR: Final = {
    "error": {
        "message": "The server had an error while processing your request. Sorry about that!",
        "type": "server_error",
        "param": None,
        "code": None,
    }
}
_LAST_CHUNK: Final = b"0\r\n\r\n"
_ID_DIGITS: Final = string.ascii_letters + string.digits


class Events:
    """The events of one streamed chat. Their skeleton is the same from the first to the last."""

    def __init__(self, name: random.Random) -> None:
        self._id = "chatcmpl-" + "".join(name.choices(_ID_DIGITS, k=29))
        self._created = int(time.time())

    def opening(self) -> bytes:
        """The event before the text."""
        return self._event({"role": "assistant", "content": "", "refusal": None})

    def piece(self, text: str) -> bytes:
        """The event with a piece of the text."""
        return self._event({"content": text})

    def closing(self, reason: str) -> bytes:
        """The events after the text."""
        return self._event({}, reason) + chunk(b"data: [DONE]\n\n")

    def _event(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        event = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": "gpt-4o-2024-08-06",
            "service_tier": "default",
            "system_fingerprint": "fp_a288987b44",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
        }
        encoded = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        return chunk(b"data: " + encoded + b"\n\n")


def chunk(data: bytes) -> bytes:
    """A chunk of an HTTP/1.1 body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """One of the bridge's connections: request after request."""

    def __init__(self, replays: Sequence[Replay]) -> None:
        self._replays = replays
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
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received.clear()
        number = int(json.loads(body)["messages"][-1]["content"].split()[-1])
        self._answering = asyncio.ensure_future(self._answer(self._replays[number]))

    async def _answer(self, replay: Replay) -> None:
        if replay.ending == "error":
            await asyncio.sleep((replay.gaps or (0.0,))[0] / 1_000)
            body = json.dumps(_ERROR).encode()
            self._transport.write(_ERROR_HEAD % len(body) + body)
            return
        events = Events(random.Random())
        said = pieces(replay.text)
        if replay.ending == "cut":
            said = said[: len(said) // 2]
        await self._say(events, said, replay.gaps)
        if replay.ending == "cut":
            self._transport.close()
        else:
            self._transport.write(events.closing(replay.ending) + _LAST_CHUNK)

    async def _say(self, events: Events, said: Sequence[str], gaps: Sequence[float]) -> None:
        """Each piece leaves when its gap is over, whatever the sleeps before it took."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        before = _HEAD + events.opening()
        for piece, gap in zip(said, gaps, strict=False):
            due += gap / 1_000
            await asyncio.sleep(due - loop.time())
            await self._writable.wait()
            self._transport.write(before + events.piece(piece))
            before = b""
        self._transport.write(before)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _serve(replays: Sequence[Replay], port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(replays), "127.0.0.1", port, backlog=4_096)
    host, bound = server.sockets[0].getsockname()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    sys.stdout.write(json.dumps({"listening": f"{host}:{bound}"}) + "\n")
    sys.stdout.flush()
    await ended.wait()


def main() -> int:
    """Serves until SIGTERM. Returns 1 if the file is wrong."""
    parser = argparse.ArgumentParser(prog="replaying_provider", description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    given = parser.parse_args()
    try:
        replays = read_texts(given.file)
    except InputError as error:
        sys.stderr.write(f"replaying_provider: {error}\n")
        return 1
    asyncio.run(_serve(replays, given.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
