"""The edge to the provider: TLS, framing, and nothing from the environment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from blindrelay.provider_bridge import ProviderError
from blindrelay.provider_bridge.policy import plan_call
from blindrelay.provider_bridge.provider_call import ProviderTransport, body_end
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_H2,
    BODY_END_LENGTH,
    BODY_END_NONE,
    ERROR_CODE_OVERLOADED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    EXECUTION_NOT_STARTED,
    BodyEnd,
)

from .conftest import provider_at
from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received
from .sealed_caller import request_head

LENGTH, CHUNKED = (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize(
    ("method", "version", "status", "headers", "end"),
    [
        ("POST", b"HTTP/1.1", 200, [LENGTH], BODY_END_LENGTH),
        ("POST", b"HTTP/1.1", 200, [CHUNKED], BODY_END_CHUNKED),
        ("POST", b"HTTP/1.1", 200, [LENGTH, CHUNKED], BODY_END_CHUNKED),
        ("POST", b"HTTP/1.1", 200, [], BODY_END_CLOSE),
        ("POST", b"HTTP/1.0", 200, [], BODY_END_CLOSE),
        ("POST", b"HTTP/2", 200, [], BODY_END_H2),
        ("HEAD", b"HTTP/1.1", 200, [LENGTH], BODY_END_NONE),
        ("GET", b"HTTP/1.1", 204, [], BODY_END_NONE),
        ("GET", b"HTTP/1.1", 304, [LENGTH], BODY_END_NONE),
        ("GET", b"HTTP/2", 304, [], BODY_END_NONE),
    ],
)
def test_how_a_body_ends(
    method: str, version: bytes, status: int, headers: list[Header], end: BodyEnd.ValueType
) -> None:
    assert body_end(method, version, status, headers) == end


@asynccontextmanager
async def calling(target: str, verify: ssl.SSLContext | bool = True) -> AsyncIterator[tuple[int, bytes]]:
    """The status and the body of one call to a target."""
    transport = ProviderTransport(verify)
    call = plan_call(request_head(), [provider_at(target)])
    try:
        async with aclosing(await transport.call(call, bytearray(b"{}"))) as answer:
            yield answer.status, b"".join([piece async for piece in answer.pieces()])
    finally:
        await transport.aclose()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="timers are read in /proc")
async def test_a_quiet_connection_is_probed_by_tcp(provider: FakeProvider) -> None:
    async def silent(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        await connection.send_chunk(b"data: 1\n\n")
        await asyncio.Event().wait()

    provider.script = silent
    transport = ProviderTransport()
    call = plan_call(request_head(), [provider_at(provider.origin)])
    async with aclosing(await transport.call(call, bytearray(b"{}"))) as answer:
        pieces = answer.pieces()
        assert await anext(pieces) == b"data: 1\n\n"
        assert timers_towards(provider.port) == ["02"]
        await pieces.aclose()
    await transport.aclose()


def timers_towards(port: int) -> list[str]:
    """The running timer of each connection to that port: 01 waits to send again, 02 for keep-alive."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[5].partition(":")[0] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_provider(authority: trustme.CA) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_provider_is_called_over_tls(tls_provider: str, authority: trustme.CA) -> None:
    trusted = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    async with calling(tls_provider, trusted) as answer:
        assert answer == (200, b"{}")


async def test_a_provider_that_nobody_vouches_for_is_not_called(
    tls_provider: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ProviderError) as failed:
        async with calling(tls_provider):
            pass
    assert failed.value.code == ERROR_CODE_PROVIDER_UNREACHABLE
    assert failed.value.execution == EXECUTION_NOT_STARTED


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(ProviderError) as failed:
        async with calling("https://provider.invalid"):
            pass
    assert failed.value.code == ERROR_CODE_PROVIDER_UNREACHABLE


async def test_no_connection_is_free(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    began = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        began.set()
        await connection.gone()

    provider.script = script
    monkeypatch.setattr("blindrelay.provider_bridge.provider_call.MAX_CONNECTIONS", 1)
    monkeypatch.setitem(ProviderTransport.call.__globals__["_TIMEOUT"], "pool", 0.05)
    transport = ProviderTransport()
    call = plan_call(request_head(), [provider_at(provider.origin)])
    async with aclosing(await transport.call(call, bytearray(b"{}"))):
        await began.wait()
        with pytest.raises(ProviderError) as failed:
            await transport.call(call, bytearray(b"{}"))
    assert failed.value.code == ERROR_CODE_OVERLOADED
    assert failed.value.execution == EXECUTION_NOT_STARTED
    await transport.aclose()


async def test_the_targets_path_is_the_clients(provider: FakeProvider) -> None:
    here = provider_at(provider.origin)
    transport = ProviderTransport()
    call = plan_call(request_head(), [replace(here, credential=None)])
    async with aclosing(await transport.call(call, bytearray(b"{}"))) as answer:
        assert answer.status == 200
    assert b"authorization" not in provider.received[0].named
    await transport.aclose()
