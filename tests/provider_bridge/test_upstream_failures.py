"""Every failure between bridge and provider has a class, which is counted, and a text without an address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from blindrelay.provider_bridge import Provider, ProviderError
from blindrelay.provider_bridge.credentials import Credential, CredentialStyle, Secret
from blindrelay.provider_bridge.providers import Proxy
from blindrelay.provider_bridge.upstream import connection as http
from blindrelay.provider_bridge.upstream import route
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.provider_call import ProviderTransport
from blindrelay.serving import Address, ConfigError
from blindrelay.testbed.ports import free_port
from blindrelay.v1.inner_pb2 import ErrorCode, Execution
from tests.connect_proxy import connect_proxy

from .conftest import provider_at
from .scripted_provider import ScriptedProvider, certified, raw
from .upstream_call import Upstream, called

OK = b"HTTP/1.1 200 OK\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"
HTTP_2 = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"  # RFC 9113, section 6.5


async def failure_of(provider: Provider, body: bytes = b"{}") -> tuple[Failure, str, str, str]:
    with pytest.raises(ProviderError) as failed:
        await called(provider, body)
    error = failed.value
    for part in (provider.target.host, str(provider.target.port)):
        assert part not in str(error), "clients do not learn where the provider is"
    return error.failure, ErrorCode.Name(error.code), Execution.Name(error.execution), str(error)


async def check_unreachable(provider: Provider, failure: Failure, words: str = "") -> None:
    *found, text = await failure_of(provider)
    assert found == [failure, "ERROR_CODE_PROVIDER_UNREACHABLE", "EXECUTION_NOT_STARTED"]
    assert words in text


def at_port(port: int, scheme: str = "http") -> Provider:
    return provider_at(f"{scheme}://127.0.0.1:{port}")


async def test_unknown_name_and_closed_port() -> None:
    for host in ("provider.invalid", "a" * 64 + ".example"):
        await check_unreachable(provider_at(f"https://{host}"), Failure.NAME_NOT_FOUND)
    await check_unreachable(at_port(free_port()), Failure.REFUSED)


async def test_provider_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with monkeypatch.context() as hurried:
            hurried.setattr(route, "CONNECT_SECONDS", 0.2)
            await check_unreachable(at_port(port, "https"), Failure.TIMED_OUT)
        *found, _ = await failure_of(at_port(port), bytes(16_000_000))
    assert found == [Failure.STALLED, "ERROR_CODE_PROVIDER_FAILED", "EXECUTION_UNKNOWN"]


async def test_provider_without_tls() -> None:
    async with ScriptedProvider(raw(SSH, close=True), bare=True).serving() as provider:
        await check_unreachable(at_port(provider.port, "https"), Failure.TLS_HANDSHAKE)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(provider: ScriptedProvider, authority: trustme.CA, folder: Path) -> Provider:
    """The provider, with the authority as the only one that counts."""
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return replace(provider_at(provider.origin), ca=folder / "ca.pem")


async def test_certificate_that_is_not_accepted(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from a foreign authority, nor for another name, nor by the environment's authorities."""
    async with ScriptedProvider(tls=certified(authority)).serving() as provider:
        foreign = trusting(provider, trustme.CA(), tmp_path)
        await check_unreachable(foreign, Failure.TLS_CERTIFICATE, "does not trust its issuer")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        await check_unreachable(provider_at(provider.origin), Failure.TLS_CERTIFICATE)
    async with ScriptedProvider(tls=certified(authority, "other.example")).serving() as provider:
        other = trusting(provider, authority, tmp_path)
        await check_unreachable(other, Failure.TLS_CERTIFICATE, "for another name")


async def test_replaced_authority_counts_for_the_next_connection(
    authority: trustme.CA, tmp_path: Path
) -> None:
    problems: list[ConfigError] = []
    async with ScriptedProvider(tls=certified(authority)).serving() as provider:
        configured = trusting(provider, trustme.CA(), tmp_path)
        here = Upstream(configured, ProviderTransport([configured], problems.append))
        for text in ((tmp_path / "ca.pem").read_bytes(), b"broken"):
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
    with no_descriptors():  # the loop needs its own for a name; an address needs none
        *found, _ = await failure_of(provider_at(provider.origin))
    assert found == [Failure.NO_CONNECTION_FREE, "ERROR_CODE_OVERLOADED", "EXECUTION_NOT_STARTED"]


BROKEN = [
    (b"", Failure.NO_RESPONSE, "UNKNOWN"),
    (b"HTTP/1.1 100 Continue\r\n\r\n", Failure.NO_RESPONSE, "UNKNOWN"),
    (OK + b"content-length: 9\r\n\r\nabc", Failure.CUT, "STARTED"),
    (OK + b"\r\nabc", Failure.CUT, "STARTED"),
    (OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n", Failure.NOT_HTTP, "STARTED"),
    (OK + b"content-len", Failure.NO_RESPONSE, "UNKNOWN"),
    (b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Failure.NOT_HTTP, "UNKNOWN"),
    (b"HTTP/1.1 700 What\r\ncontent-length: 0\r\n\r\n", Failure.BAD_RESPONSE, "STARTED"),
    (OK + b"content-length: 0\r\netag: a\x01b\r\n\r\n", Failure.BAD_RESPONSE, "STARTED"),
]
NOT_HTTP = [
    *(SSH, HTTP_2, OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n"),
    *(OK + b"transfer-encoding: gzip\r\n\r\n", OK + b"x: " + b"x" * 200_000),
    b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
]


@pytest.mark.parametrize(
    ("data", "close", "failure", "execution"),
    [
        *((data, True, failure, execution) for data, failure, execution in BROKEN),
        *((data, False, Failure.NOT_HTTP, "UNKNOWN") for data in NOT_HTTP),
    ],
)
async def test_invalid_response_is_noticed_even_while_the_connection_stays_open(
    provider: ScriptedProvider, data: bytes, close: bool, failure: Failure, execution: str
) -> None:
    provider.script = raw(data, close=close)
    *found, _ = await failure_of(provider_at(provider.origin))
    assert found == [failure, "ERROR_CODE_PROVIDER_FAILED", f"EXECUTION_{execution}"]


def through(provider: Provider, port: int, credential: Credential | None = None) -> Provider:
    return replace(provider, proxy=Proxy(Address("127.0.0.1", port), credential))


async def test_provider_behind_a_proxy_and_tls(authority: trustme.CA, tmp_path: Path) -> None:
    credential = Credential(CredentialStyle(b"proxy-authorization", b"Basic "), Secret(lambda: b"dTpw"))
    with connect_proxy() as proxy:
        async with ScriptedProvider(tls=certified(authority)).serving() as provider:
            configured = through(trusting(provider, authority, tmp_path), proxy.port, credential)
            assert await called(configured) == (200, b"{}")
    (head,) = proxy.requests
    assert head.startswith(f"CONNECT localhost:{provider.port} HTTP/1.1\r\n")
    assert "proxy-authorization: Basic dTpw\r\n" in head
    assert "sk-bridge" not in head, "the provider's credential is for the provider alone"


async def test_proxy_that_does_not_connect() -> None:
    """It refuses, it speaks something else, or it is not there."""
    provider = provider_at("https://provider.example")
    with connect_proxy(407) as refusing:
        await check_unreachable(through(provider, refusing.port), Failure.PROXY_REFUSED, "407")
    async with ScriptedProvider(raw(SSH, close=True), bare=True).serving() as other:
        await check_unreachable(through(provider, other.port), Failure.PROXY_REFUSED)
    await check_unreachable(through(provider, free_port()), Failure.PROXY_UNREACHABLE)
