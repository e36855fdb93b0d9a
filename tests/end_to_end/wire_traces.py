"""What the relay forwards of a fixed set of exchanges: each message's fields and their sizes.

    python -m tests.end_to_end.wire_traces          prints the traces as JSON
    python -m tests.end_to_end.wire_traces --write  records them in wire_traces.json

Client, relay and bridge are the real ones. The provider sends fixed bytes in lockstep with the client, so no
trace depends on time. The sealed bytes are random; sizes, numbers and order are not.

The recorded traces have the records of ADR 29: AES-256-GCM, a response nonce, 20 bytes a record.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.configuration import official_providers
from blindrelay.testbed.tap import Direction, Forwarded
from blindrelay.v1.inner_pb2 import Frame
from tests.patience import PATIENCE

from ..provider_bridge.websocket_provider import WebSocketProvider

RECORDED: Final = Path(__file__).with_name("wire_traces.json")

_API: Final = "https://api.openai.com/v1"
_CHAT: Final = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
_LONG_CHAT: Final = {"model": "m", "messages": [{"role": "user", "content": "x" * 300_000}]}
EVENTS: Final = (
    b"data: {}\n\n",
    b'data: {"n": 1}\n\n',
    b'data: "%s"\n\n' % (b"x" * 5_000),
    b"data: [DONE]\n\n",
)
# By default they name the versions of what is installed.
_HEADERS: Final = {"user-agent": "traces", "accept-encoding": "identity"}


class FixedProvider:
    """Sends the same bytes to every client. A streamed event leaves when the client has the one before.

    Attributes:
        received: released by a client before it asks, and for each piece that it has.
    """

    def __init__(self) -> None:
        self.received = asyncio.Semaphore(0)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL, while the block runs."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            yield "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                path, body = await _read_request(reader)
                if b'"stream"' in body:
                    await self._stream(writer)
                elif path.endswith("/embeddings"):
                    _respond(writer, "429 Too Many Requests", {"error": {"message": "slow down"}})
                else:
                    _respond(writer, "200 OK", {"received": len(body)})
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        for piece in (
            head.encode(),
            *(b"%x\r\n%s\r\n" % (len(each), each) for each in EVENTS),
            b"0\r\n\r\n",
        ):
            await self.received.acquire()
            writer.write(piece)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """The path and the body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
    return head.split(" ")[1], await reader.readexactly(int(headers.get("content-length", "0")))


def _respond(writer: asyncio.StreamWriter, status: str, body: dict[str, Any]) -> None:
    encoded = json.dumps(body)
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(encoded)}\r\n\r\n"
    writer.write(f"{head}{encoded}".encode())


async def _stream_chat(client: httpx.AsyncClient, provider: FixedProvider) -> None:
    provider.received.release()
    async with client.stream("POST", f"{_API}/chat/completions", json={**_CHAT, "stream": True}) as response:
        provider.received.release()
        async for _ in response.aiter_raw():
            provider.received.release()


async def _http_exchanges() -> dict[str, list[Any]]:
    provider = FixedProvider()
    async with provider.serving() as origin, tapped(origin) as bed, _client(bed) as client:
        await client.get(f"{_API}/models")
        await client.post(f"{_API}/chat/completions", json=_CHAT)
        await client.post(f"{_API}/chat/completions", json=_LONG_CHAT)
        await _stream_chat(client, provider)
        await client.post(f"{_API}/embeddings", json={"model": "m", "input": "text"})
        await client.post(f"{_API}/files", json={})
        names = ("models", "chat", "long chat", "streamed chat", "error of the provider", "refused path")
        return dict(zip(names, _traces(bed.forwarded), strict=True))


async def _tunnel() -> dict[str, list[Any]]:
    async with WebSocketProvider().serving() as provider, tapped(provider.origin) as bed:
        tunnel: Any = await SealedTransport(f"{bed.relay}&shape=off").open_tunnel(
            httpx.Request("GET", "wss://api.openai.com/v1/realtime?model=m", headers=_HEADERS)
        )
        for size in (0, 10_000):
            event = json.dumps({"type": "input_audio_buffer.append", "audio": "y" * size})
            await tunnel.send(Frame(opcode=1, fin=True, data=event.encode()))
            await tunnel.receive()
        # Before the close: either side may be the first to end its direction.
        trace = _traces(bed.forwarded)[0]
        await tunnel.send(Frame(opcode=8, fin=True, data=b"\x03\xe8"))
        while await tunnel.receive():
            pass
        return {"tunnel": trace}


@asynccontextmanager
async def tapped(origin: str) -> AsyncIterator[Testbed]:
    bed = Testbed("scripted", tap=1_000_000, providers=official_providers(origin))
    await asyncio.to_thread(bed.up)
    try:
        yield bed
    finally:
        await asyncio.to_thread(bed.down)


def _client(bed: Testbed) -> httpx.AsyncClient:
    return SealedTransport(f"{bed.relay}&shape=off").async_httpx_client(headers=_HEADERS, timeout=PATIENCE)


def _traces(forwarded: list[Forwarded]) -> list[list[Any]]:
    """Of each exchange: the metadata's keys with their sizes, then what went up, then what came down."""
    traces: dict[int, dict[Direction, list[Any]]] = {}
    for each in forwarded:
        trace = traces.setdefault(each.exchange, {direction: [] for direction in Direction})
        sizes = {key: len(value) for key, value in each.metadata.items()}
        trace[each.direction].append(sizes or _fields(bytes.fromhex(each.first)))
    return [[trace[direction] for direction in Direction] for trace in traces.values()]


def _fields(message: bytes) -> list[list[int]]:
    """Its protobuf fields: number and value, or number, wire type 2 and size."""
    fields, rest = [], message
    while rest:
        key, rest = _varint(rest)
        value, rest = _varint(rest)
        fields.append([key >> 3, key & 7, value])
        rest = rest[value:] if key & 7 == 2 else rest
    return fields


def _varint(encoded: bytes) -> tuple[int, bytes]:
    size = next(index for index, byte in enumerate(encoded) if byte < 128) + 1
    return sum((byte & 127) << 7 * index for index, byte in enumerate(encoded[:size])), encoded[size:]


def traces() -> dict[str, list[Any]]:
    """What the relay forwards of each exchange, by the exchange's name."""
    return asyncio.run(_http_exchanges()) | asyncio.run(_tunnel())


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(trace)}" for name, trace in traces().items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if "--write" in sys.argv:
        RECORDED.write_text(text)
    else:
        print(text, end="")
