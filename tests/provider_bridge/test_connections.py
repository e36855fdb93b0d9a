"""Connections to a provider: used again, bounded, probed, ended with their response, and never in the way."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import ExitStack, aclosing, closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import h11
import pytest

from blindrelay.provider_bridge import ProviderError
from blindrelay.provider_bridge.policy.request_policy import plan_call
from blindrelay.provider_bridge.providers import IDLE_SECONDS
from blindrelay.provider_bridge.upstream import connection, pool
from blindrelay.provider_bridge.upstream.connection import HttpConnection
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.pool import Pool
from blindrelay.provider_bridge.upstream.provider_tunnel import ProviderTunnel
from blindrelay.provider_bridge.upstream.socket_stream import READ_SIZE, SocketStream
from blindrelay.provider_bridge.upstream.transport import ResponseBody
from blindrelay.v1.limits import MAX_BODY_PIECE

from .conftest import provider_at
from .scripted_provider import EVENT_STREAM, Connection, ScriptedProvider, raw
from .sealed_caller import request_head
from .upstream_call import called, upstream

LARGE = b'{"x":"' + b"a" * 8_000_000 + b'"}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def test_connection_is_used_again_after_a_whole_response_alone(provider: ScriptedProvider) -> None:
    unasked = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
    for script, connections in ((raw(WHOLE), 1), (raw(WHOLE, close=True), 3), (raw(WHOLE + unasked), 3)):
        provider.connections, provider.script = 0, script
        async with upstream(provider_at(provider.origin)) as here:
            for _ in range(3):
                assert await here.call() == (200, b"{}")
                await asyncio.sleep(0.05)  # for the provider's close
        assert provider.connections == connections


async def test_connections_are_closed_when_idle_and_waited_for_only_so_long(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.05)
    async with upstream(provider_at(provider.origin)) as here:
        await here.call()
        await provider.idle()
        provider.script = raw(EVENT_STREAM)
        async with aclosing(await here.begin()):
            with pytest.raises(ProviderError) as failed:
                await here.begin()
    assert failed.value.failure is Failure.NO_CONNECTION_FREE


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="timers are read in /proc")
async def test_quiet_connection_is_probed_by_tcp(provider: ScriptedProvider) -> None:
    provider.script = raw(EVENT_STREAM + b"9\r\ndata: 1\n\n\r\n")
    async with upstream(provider_at(provider.origin)) as here, aclosing(await here.begin()) as begun:
        assert await begun.arrival(None)
        assert timers_towards(provider.port) == ["02"]


def timers_towards(port: int) -> list[str]:
    """The running timer of each connection to that port: 01 waits to send again, 02 for keep-alive."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[5].partition(":")[0] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 524_288, 3_000_001])
async def test_body_of_any_size_arrives(provider: ScriptedProvider, size: int) -> None:
    provider.script = raw(WHOLE)
    body = random.Random(size).randbytes(size)
    async with upstream(provider_at(provider.origin)) as here:
        for _ in range(2):
            assert await here.call(body) == (200, b"{}")
    assert [each.body for each in provider.received] == [body] * 2
    assert provider.connections == 1


async def test_stalled_upload_leaves_the_body_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another provider may be asked then, under another model's name in the body."""
    monkeypatch.setattr(connection, "WRITE_SECONDS", 0.05)
    body = bytearray(16_000_000)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with upstream(provider_at(f"http://127.0.0.1:{silent.getsockname()[1]}")) as here:
            with pytest.raises(ProviderError, match="took nothing more") as failed:
                await here.transport.call(plan_call(request_head(), [here.provider]), body)
            del body[:1]
            assert failed.tb, "its frames are still there"


REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large"
ACCEPTED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@pytest.mark.parametrize("ending", ["reset", "closed", "kept open"])
@pytest.mark.parametrize("sent", [REFUSAL, ACCEPTED])
async def test_early_response_arrives_whatever_becomes_of_the_upload(ending: str, sent: bytes) -> None:
    async def respond_early(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(sent)
        if ending == "reset":
            linger = struct.pack("ii", 1, 0)
            connection.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif ending == "kept open" and sent is ACCEPTED:
            await connection.reader.readexactly(len(LARGE))  # it takes the rest, as it says
        elif ending == "kept open":
            await connection.gone()

    async with ScriptedProvider(respond_early, bare=True).serving() as provider:
        for _ in range(5):
            status, body = await called(provider_at(provider.origin), LARGE)
            assert b"HTTP/1.1 %d" % status in sent
            assert sent.endswith(body)


async def test_unreachable_address_is_passed_over(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address swallows connections, as IPv6 does in many networks; the other works."""
    real = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as fillers:
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

        def both(host: str, port: int, **options: object) -> list[tuple[object, ...]]:
            (one,) = real(host, port, **options)  # type: ignore[arg-type]
            return [(*one[:4], full.getsockname()), one]

        monkeypatch.setattr(socket, "getaddrinfo", both)
        assert await called(provider_at(provider.origin)) == (200, b"{}")


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TINY = b"1\r\na\r\n" * (READ_SIZE // 6)
FRAMING = b"1;" + b"x" * (READ_SIZE - 7) + b"\r\na\r\n"
PING = b"\x89\x00"


class EndlessStream:
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
    connection = HttpConnection(cast(SocketStream, stream), IDLE_SECONDS)
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
