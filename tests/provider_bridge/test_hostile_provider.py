"""A provider that sends the smallest pieces without end holds nobody else up."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from types import SimpleNamespace
from typing import cast

import h11
import pytest

from blindrelay.provider_bridge.upstream.connection import HttpConnection
from blindrelay.provider_bridge.upstream.pool import Pool
from blindrelay.provider_bridge.upstream.provider_tunnel import ProviderTunnel
from blindrelay.provider_bridge.upstream.socket_stream import READ_SIZE, SocketStream
from blindrelay.provider_bridge.upstream.transport import ResponseBody
from blindrelay.v1.limits import MAX_BODY_PIECE

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TINY = b"1\r\na\r\n" * (READ_SIZE // 6)
FRAMING = b"1;" + b"x" * (READ_SIZE - 7) + b"\r\na\r\n"
PING = b"\x89\x00"


class EndlessStream:
    """A SocketStream on which there is always more to take."""

    def __init__(self, first: bytes, repeated: bytes) -> None:
        self._next, self._repeated = first, repeated
        self.reads = 0
        self.written: list[int] = []

    def poll(self) -> bool:
        return True

    def take(self) -> bytes:
        self.reads += 1
        taken, self._next = self._next, self._repeated
        return taken

    def put_back(self, data: bytes) -> None:
        self._next = data

    async def arrival(self, timeout: float | None = None) -> bool:
        await asyncio.sleep(0)
        return True

    def send(self, data: bytes) -> int:
        return len(data)

    async def write(self, data: bytes, timeout: float) -> None:
        self.written.append(len(data))


@pytest.mark.parametrize("chunks", [TINY, FRAMING])
async def test_endless_chunks_are_taken_a_few_at_a_time(chunks: bytes) -> None:
    stream = EndlessStream(CHUNKED, chunks)
    connection = HttpConnection(cast(SocketStream, stream))
    await connection.request(h11.Request(method="GET", target="/", headers=[("host", "provider")]))
    body = ResponseBody(connection, cast(Pool, None))
    for _ in range(3):
        before = stream.reads
        assert await body.arrival(None)
        assert len(body.take(MAX_BODY_PIECE)) <= 100
        assert stream.reads - before <= 100


async def test_other_tasks_run_even_if_data_is_there_at_once() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    with there, closing(SocketStream(here)) as stream:
        there.sendall(b"x")
        turn = asyncio.create_task(asyncio.sleep(0))
        assert await stream.arrival()
        await asyncio.sleep(0)
        assert turn.done()


async def test_endless_pings_are_answered_a_few_at_a_time() -> None:
    stream = EndlessStream(b"", PING * (READ_SIZE // 2))
    stream.take()
    tunnel = ProviderTunnel(cast(ResponseBody, SimpleNamespace(switched=lambda: stream)), [])
    receiving = asyncio.create_task(tunnel.receive())
    while len(stream.written) < 3:  # noqa: ASYNC110 (nobody is told)
        await asyncio.sleep(0)
    receiving.cancel()
    assert sum(stream.written) <= 50_000
