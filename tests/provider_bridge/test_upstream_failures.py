"""Every failure between bridge and provider has a class, which is said and counted, and names no address."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from blindrelay.provider_bridge import Provider, ProviderError
from blindrelay.provider_bridge.credentials import Credential
from blindrelay.provider_bridge.policy.request_policy import plan_call
from blindrelay.provider_bridge.providers import Proxy
from blindrelay.provider_bridge.upstream import connection as http
from blindrelay.provider_bridge.upstream import pool, route
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.provider_call import ProviderTransport
from blindrelay.serving import Address
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_OVERLOADED,
    ERROR_CODE_PROVIDER_FAILED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    EXECUTION_UNKNOWN,
    ErrorCode,
    Execution,
)
from blindrelay.v1.limits import MAX_BODY_PIECE

from .conftest import provider_at
from .fake_provider import FakeProvider, answer, raw
from .sealed_caller import request_head
from .test_command import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LARGE = b'{"x":"' + b"a" * 8_000_000 + b'"}'


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a port of this machine."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def called(provider: Provider, body: bytes = b"{}") -> tuple[int, bytes]:
    """The status and the body of one call."""
    transport = ProviderTransport([provider])
    call = plan_call(request_head(), [provider])
    try:
        async with aclosing(await transport.call(call, bytearray(body))) as response:
            received = b""
            while not response.ended:
                await response.arrival(None)
                received += response.take(MAX_BODY_PIECE)
            return response.status, received
    finally:
        await transport.aclose()


async def check_failure(
    provider: Provider, failure: Failure, code: ErrorCode.ValueType, execution: Execution.ValueType
) -> str:
    with pytest.raises(ProviderError) as failed:
        await called(provider)
    error = failed.value
    assert (error.failure, error.code, error.execution) == (failure, code, execution)
    for part in (provider.target.host, str(provider.target.port)):
        assert part not in str(error), "clients do not learn where the provider is"
    return str(error)


async def check_unreachable(provider: Provider, failure: Failure) -> str:
    return await check_failure(provider, failure, ERROR_CODE_PROVIDER_UNREACHABLE, EXECUTION_NOT_STARTED)


async def test_name_that_does_not_exist() -> None:
    await check_unreachable(provider_at("https://provider.invalid"), Failure.NAME_NOT_FOUND)
    too_long = "a" * 64 + ".example"
    await check_unreachable(provider_at(f"https://{too_long}"), Failure.NAME_NOT_FOUND)


async def test_port_that_nobody_listens_on() -> None:
    await check_unreachable(provider_at(f"http://127.0.0.1:{free_port()}"), Failure.REFUSED)


async def test_handshake_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provider = provider_at(f"https://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ProviderError) as failed:
            await called(provider)
    assert (failed.value.failure, failed.value.execution) == (Failure.TIMED_OUT, EXECUTION_NOT_STARTED)
    assert failed.value.code == ERROR_CODE_PROVIDER_UNREACHABLE


async def test_handshake_with_something_else_than_tls() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    async with serving(greet) as port:
        await check_unreachable(provider_at(f"https://127.0.0.1:{port}"), Failure.TLS_HANDSHAKE)


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [("localhost", False, "does not trust its issuer"), ("other.example", True, "for another name")],
)
async def test_certificate_that_is_not_accepted(
    tmp_path: Path, name: str, trusted: bool, reason: str
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving(serve, context) as port:
        provider = replace(provider_at(f"https://localhost:{port}"), ca=tmp_path / "ca.pem")
        assert reason in await check_unreachable(provider, Failure.TLS_CERTIFICATE)


async def test_no_descriptor_is_left(no_descriptors: Callable[[], object], provider: FakeProvider) -> None:
    # The loop needs its own for the name; an address needs none.
    with no_descriptors():  # type: ignore[attr-defined]
        await check_failure(
            provider_at(provider.origin),
            *(Failure.NO_CONNECTION_FREE, ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED),
        )


@pytest.mark.parametrize(
    ("data", "failure", "execution"),
    [
        (b"", Failure.NO_RESPONSE, EXECUTION_UNKNOWN),
        (b"HTTP/1.1 200", Failure.NO_RESPONSE, EXECUTION_UNKNOWN),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Failure.NO_RESPONSE, EXECUTION_UNKNOWN),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", Failure.CUT, EXECUTION_STARTED),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", Failure.CUT, EXECUTION_STARTED),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            Failure.NOT_HTTP,
            EXECUTION_STARTED,
        ),
        (b"HTTP/1.1 700 What\r\ncontent-length: 0\r\n\r\n", Failure.BAD_RESPONSE, EXECUTION_STARTED),
    ],
)
async def test_response_that_is_not_whole(
    provider: FakeProvider, data: bytes, failure: Failure, execution: Execution.ValueType
) -> None:
    provider.script = raw(data, close=True)
    await check_failure(provider_at(provider.origin), failure, ERROR_CODE_PROVIDER_FAILED, execution)
    assert len(provider.received) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00",  # HTTP/2, RFC 9113, section 6.5
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
    ],
)
async def test_something_else_than_http_is_noticed_while_it_waits(
    provider: FakeProvider, data: bytes
) -> None:
    provider.script = raw(data)  # and the connection stays open
    await check_failure(
        *(provider_at(provider.origin), Failure.NOT_HTTP, ERROR_CODE_PROVIDER_FAILED, EXECUTION_UNKNOWN)
    )


async def test_provider_that_takes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ProviderError) as failed:
        await called(provider_at(f"http://127.0.0.1:{silent.getsockname()[1]}"), LARGE * 2)
    assert (failed.value.failure, failed.value.execution) == (Failure.STALLED, EXECUTION_UNKNOWN)


REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 9\r\n\r\ntoo large"
ACCEPTED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@pytest.mark.parametrize("ending", ["reset", "closed", "kept open"])
@pytest.mark.parametrize("response", [REFUSAL, ACCEPTED])
async def test_early_response_arrives_whatever_becomes_of_the_upload(ending: str, response: bytes) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        if ending == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if ending != "kept open":
            writer.close()
        elif response is ACCEPTED:
            await reader.readexactly(len(LARGE))  # it takes the rest, as it says
            writer.close()
        else:
            with suppress(ConnectionError):
                while await reader.read(1_000_000):
                    pass
            writer.close()

    async with serving(refuse) as port:
        for _ in range(5):
            status, body = await called(provider_at(f"http://127.0.0.1:{port}"), LARGE)
            assert b"HTTP/1.1 %d" % status in response
            assert response.endswith(body)


async def test_connection_that_the_provider_closed_is_not_used_again(provider: FakeProvider) -> None:
    provider.script = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", close=True)
    here = provider_at(provider.origin)
    transport = ProviderTransport([here])
    for _ in range(3):
        async with aclosing(await transport.call(plan_call(request_head(), [here]), bytearray())) as response:
            while not response.ended:
                await response.arrival(None)
                response.take(100)
        await asyncio.sleep(0.05)
    await transport.aclose()
    assert (provider.connections, len(provider.received)) == (3, 3)


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"])
async def test_connection_is_used_again_unless_something_came_unasked(
    provider: FakeProvider, more: bytes
) -> None:
    provider.script = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" + more)
    here = provider_at(provider.origin)
    transport = ProviderTransport([here])
    for _ in range(3):
        async with aclosing(await transport.call(plan_call(request_head(), [here]), bytearray())) as response:
            await response.arrival(None)
            assert response.take(100) == b"{}"
            assert response.ended
    await transport.aclose()
    assert provider.connections == (3 if more else 1)


async def test_idle_connections_are_closed_after_a_while(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.1)
    gone = asyncio.Event()
    whole = answer()

    async def script(connection: object, received: object) -> None:
        await whole(connection, received)  # type: ignore[arg-type]
        await connection.gone()  # type: ignore[attr-defined]
        gone.set()

    provider.script = script
    here = provider_at(provider.origin)
    transport = ProviderTransport([here])
    async with aclosing(await transport.call(plan_call(request_head(), [here]), bytearray())) as response:
        await response.arrival(None)
        response.take(100)
    async with asyncio.timeout(30):
        await gone.wait()
    await transport.aclose()


class TunnelProxy:
    """A proxy that takes CONNECT and nothing else; `refuse_with` is a status line instead."""

    def __init__(self, refuse_with: bytes | None = None) -> None:
        self.requests: list[bytes] = []
        self._refuse_with = refuse_with

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        if self._refuse_with is not None:
            writer.write(b"HTTP/1.1 " + self._refuse_with + b"\r\ncontent-length: 0\r\n\r\n")
            writer.close()
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        onward, to_target = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_copy(reader, to_target), _copy(onward, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


def through(provider: Provider, port: int, credential: Credential | None = None) -> Provider:
    return replace(provider, proxy=Proxy(Address("127.0.0.1", port), credential))


async def test_provider_behind_a_proxy_and_tls(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    authority, proxy = trustme.CA(), TunnelProxy()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving(serve, context) as port, serving(proxy.serve) as proxy_port:
        provider = replace(provider_at(f"https://localhost:{port}"), ca=tmp_path / "ca.pem")
        credential = Credential(b"proxy-authorization", lambda: b"Basic dTpw")
        assert await called(through(provider, proxy_port, credential)) == (200, b"{}")
    (head,) = proxy.requests
    assert head.startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
    assert b"proxy-authorization: Basic dTpw\r\n" in head
    assert b"sk-bridge" not in head, "the provider's credential is for the provider alone"


async def test_proxy_that_refuses() -> None:
    proxy = TunnelProxy(b"407 Proxy Authentication Required")
    async with serving(proxy.serve) as port:
        text = await check_unreachable(
            through(provider_at("https://provider.example"), port), Failure.PROXY_REFUSED
        )
    assert "407" in text


async def test_proxy_that_is_not_there() -> None:
    await check_unreachable(
        through(provider_at("https://provider.example"), free_port()), Failure.PROXY_UNREACHABLE
    )


async def test_unreachable_address_is_passed_over(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address swallows connections, as IPv6 does in many networks; the other works."""
    real = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

        def both(host: str, port: int, **options: object) -> list[tuple[object, ...]]:
            (one,) = real(host, port, **options)  # type: ignore[arg-type]
            return [(*one[:4], full.getsockname()), one]

        monkeypatch.setattr(socket, "getaddrinfo", both)
        assert await called(provider_at(provider.origin)) == (200, b"{}")
        for filler in fillers:
            filler.close()
