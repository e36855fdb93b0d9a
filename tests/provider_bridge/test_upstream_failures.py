"""Every failure between bridge and provider has a class, which is counted, and a text without an address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from blindrelay.provider_bridge import Provider, ProviderError
from blindrelay.provider_bridge.credentials import Credential
from blindrelay.provider_bridge.providers import Proxy
from blindrelay.provider_bridge.upstream import connection as http
from blindrelay.provider_bridge.upstream import route
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.provider_call import ProviderTransport
from blindrelay.serving import Address, ConfigError
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
from tests.connect_proxy import connect_proxy

from .conftest import provider_at
from .scripted_provider import ScriptedProvider, certified, raw
from .upstream_call import Upstream, called, free_port


async def check_failure(
    provider: Provider,
    failure: Failure,
    code: ErrorCode.ValueType,
    execution: Execution.ValueType,
    body: bytes = b"{}",
) -> str:
    """Calls and expects this failure; returns its text."""
    with pytest.raises(ProviderError) as failed:
        async with asyncio.timeout(30):
            await called(provider, body)
    error = failed.value
    assert (error.failure, error.code, error.execution) == (failure, code, execution)
    for part in (provider.target.host, str(provider.target.port)):
        assert part not in str(error), "clients do not learn where the provider is"
    return str(error)


async def check_unreachable(provider: Provider, failure: Failure) -> str:
    return await check_failure(provider, failure, ERROR_CODE_PROVIDER_UNREACHABLE, EXECUTION_NOT_STARTED)


@pytest.mark.parametrize("host", ["provider.invalid", "a" * 64 + ".example"])
async def test_unknown_name(host: str) -> None:
    await check_unreachable(provider_at(f"https://{host}"), Failure.NAME_NOT_FOUND)


async def test_closed_port() -> None:
    await check_unreachable(provider_at(f"http://127.0.0.1:{free_port()}"), Failure.REFUSED)


async def test_handshake_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await check_unreachable(
            provider_at(f"https://127.0.0.1:{silent.getsockname()[1]}"), Failure.TIMED_OUT
        )


async def test_provider_without_tls() -> None:
    greeting = raw(b"220 mail.example ESMTP\r\n", close=True)
    async with ScriptedProvider(greeting, bare=True).serving() as provider:
        await check_unreachable(provider_at(f"https://127.0.0.1:{provider.port}"), Failure.TLS_HANDSHAKE)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(provider: ScriptedProvider, authority: trustme.CA, folder: Path) -> Provider:
    """The provider, with the authority as the only one that counts."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return replace(provider_at(provider.origin), ca=folder / "ca.pem")


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [("localhost", False, "does not trust its issuer"), ("other.example", True, "for another name")],
)
async def test_certificate_that_is_not_accepted(
    authority: trustme.CA, tmp_path: Path, name: str, trusted: bool, reason: str
) -> None:
    async with ScriptedProvider(tls=certified(authority, name)).serving() as provider:
        configured = trusting(provider, authority if trusted else trustme.CA(), tmp_path)
        assert reason in await check_unreachable(configured, Failure.TLS_CERTIFICATE)


async def test_authority_from_the_environment_does_not_count(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with ScriptedProvider(tls=certified(authority)).serving() as provider:
        await check_unreachable(provider_at(provider.origin), Failure.TLS_CERTIFICATE)


async def test_replaced_authority_counts_for_the_next_connection(
    authority: trustme.CA, tmp_path: Path
) -> None:
    problems: list[ConfigError] = []
    async with ScriptedProvider(tls=certified(authority)).serving() as provider:
        configured = trusting(provider, trustme.CA(), tmp_path)
        here = Upstream(configured, ProviderTransport([configured], problems.append))
        for text in (None, b"broken"):
            if text is not None:
                (tmp_path / "ca.pem").write_bytes(text)
            with pytest.raises(ProviderError, match="does not trust its issuer"):
                await here.call()
        (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
        assert await here.call() == (200, b"{}")
        assert len(problems) == 1
        await here.transport.aclose()


async def test_no_descriptor_is_left(
    no_descriptors: Callable[[], AbstractContextManager[None]], provider: ScriptedProvider
) -> None:
    # The loop needs its own for a name; an address needs none.
    with no_descriptors():
        await check_failure(
            provider_at(provider.origin),
            *(Failure.NO_CONNECTION_FREE, ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED),
        )


@pytest.mark.parametrize(
    ("data", "failure", "execution"),
    [
        (b"", Failure.NO_RESPONSE, EXECUTION_UNKNOWN),
        (b"HTTP/1.1 100 Continue\r\n\r\n", Failure.NO_RESPONSE, EXECUTION_UNKNOWN),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", Failure.CUT, EXECUTION_STARTED),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", Failure.CUT, EXECUTION_STARTED),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            Failure.NOT_HTTP,
            EXECUTION_STARTED,
        ),
        (b"HTTP/1.1 700 What\r\ncontent-length: 0\r\n\r\n", Failure.BAD_RESPONSE, EXECUTION_STARTED),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\netag: a\x01b\r\n\r\n",
            Failure.BAD_RESPONSE,
            EXECUTION_STARTED,
        ),
    ],
)
async def test_response_that_is_not_whole(
    provider: ScriptedProvider, data: bytes, failure: Failure, execution: Execution.ValueType
) -> None:
    provider.script = raw(data, close=True)
    await check_failure(provider_at(provider.origin), failure, ERROR_CODE_PROVIDER_FAILED, execution)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00",  # HTTP/2, RFC 9113, section 6.5
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
    ],
)
async def test_anything_but_http_is_noticed_while_the_connection_stays_open(
    provider: ScriptedProvider, data: bytes
) -> None:
    provider.script = raw(data)
    await check_failure(
        *(provider_at(provider.origin), Failure.NOT_HTTP, ERROR_CODE_PROVIDER_FAILED, EXECUTION_UNKNOWN)
    )


async def test_provider_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        await check_failure(
            provider_at(f"http://127.0.0.1:{silent.getsockname()[1]}"),
            *(Failure.STALLED, ERROR_CODE_PROVIDER_FAILED, EXECUTION_UNKNOWN),
            body=bytes(16_000_000),
        )


def through(provider: Provider, port: int, credential: Credential | None = None) -> Provider:
    return replace(provider, proxy=Proxy(Address("127.0.0.1", port), credential))


async def test_provider_behind_a_proxy_and_tls(authority: trustme.CA, tmp_path: Path) -> None:
    credential = Credential(b"proxy-authorization", lambda: b"Basic dTpw")
    with connect_proxy() as proxy:
        async with ScriptedProvider(tls=certified(authority)).serving() as provider:
            configured = through(trusting(provider, authority, tmp_path), proxy.port, credential)
            assert await called(configured) == (200, b"{}")
    (head,) = proxy.requests
    assert head.startswith(f"CONNECT localhost:{provider.port} HTTP/1.1\r\n")
    assert "proxy-authorization: Basic dTpw\r\n" in head
    assert "sk-bridge" not in head, "the provider's credential is for the provider alone"


async def test_proxy_that_refuses() -> None:
    with connect_proxy(407) as proxy:
        text = await check_unreachable(
            through(provider_at("https://provider.example"), proxy.port), Failure.PROXY_REFUSED
        )
    assert "407" in text


async def test_proxy_that_speaks_something_else() -> None:
    async with ScriptedProvider(raw(b"SSH-2.0-OpenSSH_9.2\r\n", close=True), bare=True).serving() as proxy:
        await check_unreachable(
            through(provider_at("https://provider.example"), proxy.port), Failure.PROXY_REFUSED
        )


async def test_proxy_that_is_not_there() -> None:
    await check_unreachable(
        through(provider_at("https://provider.example"), free_port()), Failure.PROXY_UNREACHABLE
    )
