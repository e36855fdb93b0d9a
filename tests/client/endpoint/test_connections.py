"""Connections, unusual request targets, limits on unfinished requests, and the mark on every response."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest

from blindrelay.client import ConnectionConfig
from blindrelay.client.endpoint import Unsealed, client_body, http_protocol, listen, read_providers, serve

from ..conftest import ScriptedBridge
from .conftest import Endpoint, never_answering, wait_for

TWO_LENGTHS = "content-length: 5\ntransfer-encoding: chunked"
HANDSHAKE = "sec-websocket-version: 13\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg=="
HALF = b"GET /healthz HTTP/1.1\r\nhost: 127"


def exchanged(endpoint: Endpoint, request: str, *, half_closes: bool = False) -> bytes:
    """Everything that comes back. HOST and KEY are filled in."""
    text = request.replace("HOST", f"127.0.0.1:{endpoint.port}").replace(
        "KEY", f"x-api-key: {endpoint.token}"
    )
    with endpoint.connect() as program:
        program.sendall(text.replace("\n", "\r\n").encode())
        if half_closes:
            program.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: program.recv(65_536), b""))


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        ("GET http://HOST/healthz HTTP/1.1\nhost: else.example", 200, ""),
        ("GET http://HOST/v1/models HTTP/1.1\nhost: HOST\nKEY", 200, ""),
        ("GET http://HOST HTTP/1.1\nhost: HOST", 200, ""),
        ("OPTIONS * HTTP/1.1\nhost: HOST", 204, ""),
        ("OPTIONS * HTTP/1.1\nhost: evil.example", 403, "host"),
        ("GET * HTTP/1.1\nhost: HOST", 400, "request"),
        ("GET healthz HTTP/1.1\nhost: HOST", 400, "request"),
        ("GET http://[ HTTP/1.1\nhost: HOST", 400, "request"),
        ("GET http://api.openai.com/v1/models HTTP/1.1\nhost: HOST\nKEY", 403, "not_sealed"),
        ("GET https://HOST/v1/models HTTP/1.1\nhost: HOST\nKEY", 403, "not_sealed"),
        ("GET http://x@HOST/v1/models HTTP/1.1\nhost: HOST\nKEY", 403, "not_sealed"),
        ("CONNECT api.openai.com:443 HTTP/1.1\nhost: api.openai.com:443", 403, "not_sealed"),
        ("CONNECT 127.0.0.1:1 HTTP/1.1\nhost: HOST", 403, "not_sealed"),
        ("nonsense", 400, "request"),
        ("GET / HTTP/1.1", 400, "request"),
        ("POST /v1/models HTTP/1.1\nhost: HOST\nKEY\ncontent-length: x", 400, "request"),
        (f"POST /v1/models HTTP/1.1\nhost: HOST\nKEY\n{TWO_LENGTHS}", 400, "request"),
        ("POST /healthz HTTP/1.1\nhost: HOST\nKEY", 404, "unknown_path"),
        ("POST / HTTP/1.1\nhost: HOST\nKEY", 404, "unknown_path"),
        ("GET /v1/realtime HTTP/1.1\nhost: HOST\nKEY\nupgrade: websocket", 400, "request"),
        (f"GET /nobody HTTP/1.1\nhost: HOST\nKEY\nupgrade: websocket\n{HANDSHAKE}", 404, "unknown_path"),
    ],
)
def test_every_response_carries_the_mark(bridged: Endpoint, request_: str, status: int, error: str) -> None:
    connection = "upgrade" if "upgrade" in request_ else "close"
    came = exchanged(bridged, f"{request_}\nconnection: {connection}\n\n")
    head, _, body = came.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].split()[1] == str(status)
    assert lines.count("x-blindrelay-endpoint: 1") == 1
    assert (f"x-blindrelay-error: endpoint/{error}" in lines) == bool(error)
    assert (b"blindrelay" in body) or not error


def test_connect_to_the_endpoint_itself_is_accepted(bridged: Endpoint) -> None:
    """Also where the first request comes in the same packet."""
    asking = "GET /healthz HTTP/1.1\nhost: HOST\nconnection: close\n\n"
    came = exchanged(bridged, f"CONNECT HOST HTTP/1.1\nhost: HOST\n\n{asking}")
    first, _, rest = came.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b'{"status":"ok"}')


def test_tunnel_in_a_tunnel_is_refused(bridged: Endpoint) -> None:
    """A packet full of them would exhaust the stack, even without a token."""
    came = exchanged(bridged, "CONNECT HOST HTTP/1.1\nhost: HOST\n\n" * 1_000)
    first, _, rest = came.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert rest.startswith(b"HTTP/1.1 400 ")
    assert rest.count(b"HTTP/1.1 ") == 1


def test_refusals_are_counted_by_host() -> None:
    unsealed = Unsealed()
    for authority in ("a.example:443", "a.example", "u@a.example:80", "a.example:8443", "[2001:db8::1]:443"):
        assert unsealed.refusal(authority).kind == "not_sealed"
    assert unsealed.counts == {"a.example": 3, "a.example:8443": 1, "[2001:db8::1]": 1}
    for number in range(1_000):
        unsealed.refusal(f"{number}.example")
    assert len(unsealed.counts) == 101
    assert unsealed.counts["others"] == 903


@pytest.mark.parametrize("path", ["/healthz", "/v1/models"])
def test_program_that_ends_its_side_gets_its_response(bridged: Endpoint, path: str) -> None:
    came = exchanged(bridged, f"GET {path} HTTP/1.1\nhost: HOST\nKEY\n\n", half_closes=True)
    final = came[came.index(b"HTTP/1.1 200") :]
    assert b"ok" in final or b"{}" in final
    assert b"x-blindrelay-endpoint: 1" in final


def test_program_that_ends_its_side_too_early_is_gone(bridged: Endpoint) -> None:
    request = "POST /v1/responses HTTP/1.1\nhost: HOST\nKEY\ncontent-length: 9\n\nhalf"
    assert exchanged(bridged, request, half_closes=True) == b""


def test_unfinished_requests_keep_nobody_out(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    """There are more than the endpoint has connections: the oldest of them are closed."""
    with ExitStack() as stack:
        for _ in range(1_100):
            each = stack.enter_context(bridged.connect())
            each.sendall(HALF)
        with bridged.client() as client:
            for _ in range(3):
                assert client.get("/v1/models").status_code == 200
    assert len(bridge.received) == 3


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listener:
        yield listener


@asynccontextmanager
async def connected(
    listener: socket.socket, bridge: ScriptedBridge
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to an endpoint in this process, whose limits a test may change."""
    started = asyncio.Event()
    connection = ConnectionConfig.from_string(bridge.connection)
    task = asyncio.create_task(
        serve(listener, connection, "brl_test", read_providers(None), "openai", started.set)
    )
    await started.wait()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("sent", "status"), [(b"", b""), (HALF, b"HTTP/1.1 408 ")])
async def test_missing_head_ends_the_connection(
    listener: socket.socket,
    bridge: ScriptedBridge,
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    status: bytes,
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    async with connected(listener, bridge) as (reader, writer):
        writer.write(sent)
        came = await asyncio.wait_for(reader.read(), 30)
    assert came[:13] == status
    assert (b"x-blindrelay-error: endpoint/timeout" in came) == bool(status)


async def test_trickling_head_gets_no_more_time(
    listener: socket.socket, bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    async with connected(listener, bridge) as (reader, writer):
        ended = asyncio.create_task(reader.read())
        writer.write(HALF)
        while not ended.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
    with suppress(ConnectionResetError):  # a byte that comes after the response may reset the connection
        assert (await ended).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/files"])
async def test_missing_body_is_a_timeout(
    listener: socket.socket, bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Whether it is buffered or streams."""
    monkeypatch.setattr(client_body, "IDLE_SECONDS", 0.2)
    host = f"127.0.0.1:{listener.getsockname()[1]}"
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\nx-api-key: brl_test\r\ncontent-length: 1000000\r\n"
    async with connected(listener, bridge) as (reader, writer):
        writer.write(f"{head}\r\nhalf".encode())
        came = await asyncio.wait_for(reader.readuntil(b"}"), 30)
    assert came.startswith(b"HTTP/1.1 408 ")
    assert b"x-blindrelay-error: endpoint/timeout" in came


async def test_idle_connection_is_kept(
    listener: socket.socket, bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time for a head begins with its first byte; keep-alive has its own."""
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)
    request = f"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{listener.getsockname()[1]}\r\n\r\n"
    async with connected(listener, bridge) as (reader, writer):
        for _ in range(2):
            writer.write(request.encode())
            assert (await reader.readuntil(b'ok"}')).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.3)


def test_gone_program_is_noticed_after_it_ended_its_side(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    asked = never_answering(bridge)
    program = bridged.connect()
    program.sendall(bridged.request("GET /v1/models"))
    program.shutdown(socket.SHUT_WR)
    assert asked.wait(30)
    assert program.recv(100).startswith(b"HTTP/1.1 100 ")
    assert not bridge.cancelled
    program.close()
    wait_for(lambda: bridge.cancelled == [True])
