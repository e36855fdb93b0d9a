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

from blindrelay.provider_bridge import Provider, ProviderError
from blindrelay.provider_bridge.policy.request_policy import PlannedCall, plan_call
from blindrelay.provider_bridge.upstream import pool
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.provider_call import ProviderTransport, body_end
from blindrelay.serving import ConfigError
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_LENGTH,
    BODY_END_NONE,
    ERROR_CODE_OVERLOADED,
    EXECUTION_NOT_STARTED,
    BodyEnd,
)
from blindrelay.v1.limits import MAX_BODY_PIECE

from .conftest import provider_at
from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received, raw
from .sealed_caller import request_head

LENGTH, CHUNKED = (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize(
    ("method", "status", "headers", "end"),
    [
        ("POST", 200, [LENGTH], BODY_END_LENGTH),
        ("POST", 200, [CHUNKED], BODY_END_CHUNKED),
        ("POST", 200, [LENGTH, CHUNKED], BODY_END_CHUNKED),
        ("POST", 200, [], BODY_END_CLOSE),
        ("HEAD", 200, [LENGTH], BODY_END_NONE),
        ("GET", 204, [], BODY_END_NONE),
        ("GET", 304, [LENGTH], BODY_END_NONE),
    ],
)
def test_how_a_body_ends(method: str, status: int, headers: list[Header], end: BodyEnd.ValueType) -> None:
    assert body_end(method, status, headers) == end


@asynccontextmanager
async def transport_to(provider: Provider) -> AsyncIterator[tuple[ProviderTransport, PlannedCall]]:
    """A transport, and a call to make with it."""
    transport = ProviderTransport([provider])
    try:
        yield transport, plan_call(request_head(), [provider])
    finally:
        await transport.aclose()


async def called(provider: Provider) -> tuple[int, bytes]:
    """The status and the body of one call."""
    async with (
        transport_to(provider) as (transport, call),
        aclosing(await transport.call(call, bytearray(b"{}"))) as response,
    ):
        body = b""
        while not response.ended:
            await response.arrival(None)
            body += response.take(MAX_BODY_PIECE)
        return response.status, body


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="timers are read in /proc")
async def test_a_quiet_connection_is_probed_by_tcp(provider: FakeProvider) -> None:
    async def silent(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        await connection.send_chunk(b"data: 1\n\n")
        await asyncio.Event().wait()

    provider.script = silent
    async with (
        transport_to(provider_at(provider.origin)) as (transport, call),
        aclosing(await transport.call(call, bytearray(b"{}"))) as response,
    ):
        assert await response.arrival(None)
        assert timers_towards(provider.port) == ["02"]


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


def trusting(tls_provider: str, authority: trustme.CA, folder: Path) -> Provider:
    """The provider, with the authority as the only one that counts."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return replace(provider_at(tls_provider), ca=folder / "ca.pem")


async def test_provider_with_a_private_authority(
    tls_provider: str, authority: trustme.CA, tmp_path: Path
) -> None:
    assert await called(trusting(tls_provider, authority, tmp_path)) == (200, b"{}")


async def test_replaced_authority_counts_for_the_next_connection(
    tls_provider: str, authority: trustme.CA, tmp_path: Path
) -> None:
    problems: list[ConfigError] = []
    provider = trusting(tls_provider, trustme.CA(), tmp_path)
    transport = ProviderTransport([provider], problems.append)
    call = plan_call(request_head(), [provider])
    for text, works in ((None, False), (b"broken", False), (authority.cert_pem.bytes(), True)):
        if text is not None:
            (tmp_path / "ca.pem").write_bytes(text)
        if works:
            await (await transport.call(call, bytearray(b"{}"))).aclose()
        else:
            with pytest.raises(ProviderError, match="does not trust its issuer"):
                await transport.call(call, bytearray(b"{}"))
    assert len(problems) == 1
    await transport.aclose()


async def test_authority_from_the_environment_does_not_count(
    tls_provider: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ProviderError) as failed:
        await called(provider_at(tls_provider))
    assert failed.value.failure is Failure.TLS_CERTIFICATE
    assert failed.value.execution == EXECUTION_NOT_STARTED


async def test_call_waits_only_so_long_for_a_connection(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.05)
    provider.script = raw(EVENT_STREAM)
    async with (
        transport_to(provider_at(provider.origin)) as (transport, call),
        aclosing(await transport.call(call, bytearray(b"{}"))),
    ):
        with pytest.raises(ProviderError) as failed:
            await transport.call(call, bytearray(b"{}"))
    assert (failed.value.failure, failed.value.code) == (Failure.NO_CONNECTION_FREE, ERROR_CODE_OVERLOADED)
    assert failed.value.execution == EXECUTION_NOT_STARTED


async def test_call_without_a_credential(provider: FakeProvider) -> None:
    await called(replace(provider_at(provider.origin), credential=None))
    assert b"authorization" not in provider.received[0].named
