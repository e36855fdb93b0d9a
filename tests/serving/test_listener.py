"""Bound once: the real port, or one clear sentence."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from blindrelay.serving import (
    STREAMS_PER_CLIENT,
    Address,
    ChannelTls,
    ConfigError,
    ServerTls,
    StartError,
    listen,
    server_options,
)

ANY_PORT = Address("127.0.0.1", 0)


def new_server() -> grpc.aio.Server:
    async def echo(message: bytes, context: Any) -> bytes:
        return message

    server = grpc.aio.server(options=server_options(STREAMS_PER_CLIENT))
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"C": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", methods),))
    return server


async def ask(channel: grpc.aio.Channel) -> bytes:
    async with channel:
        call: Any = channel.unary_unary("/a.B/C")
        answer: bytes = await call(b"x", timeout=20)
        return answer


class Files:
    """A CA, and a certificate of it for 127.0.0.1, as PEM files."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        issued = ca.issue_cert("127.0.0.1")
        self.ca, self.certificate, self.key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
        ca.cert_pem.write_to_path(self.ca)
        issued.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def strangers(tmp_path: Path) -> Files:
    (tmp_path / "strangers").mkdir()
    return Files(tmp_path / "strangers")


async def test_the_real_port_comes_back() -> None:
    server = new_server()
    address = listen(server, ANY_PORT, None)
    await server.start()
    assert address.port > 0
    assert await ask(grpc.aio.insecure_channel(str(address))) == b"x"
    await server.stop(0)


async def test_ipv6_loopback() -> None:
    server = new_server()
    address = listen(server, Address("::1", 0), None)
    await server.start()
    assert await ask(grpc.aio.insecure_channel(str(address))) == b"x"
    await server.stop(0)


async def test_a_second_server_on_the_port_is_refused() -> None:
    first, second = new_server(), new_server()
    address = listen(first, ANY_PORT, None)
    await first.start()
    with pytest.raises(StartError, match=f"cannot listen on {address}: the port is taken") as failure:
        listen(second, address, None)
    assert failure.value.exit_code == 1
    await first.stop(0)
    await second.stop(0)


async def test_an_address_that_is_not_ours(files: Files) -> None:
    server = new_server()
    tls = ServerTls(files.certificate, files.key)
    with pytest.raises(StartError, match="this machine does not have that address"):
        listen(server, Address("192.0.2.1", 0), tls)
    await server.stop(0)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "relay.example"])
async def test_plaintext_off_loopback_is_refused(host: str) -> None:
    server = new_server()
    with pytest.raises(ConfigError, match=r"add a \[tls\] section"):
        listen(server, Address(host, 0), None)
    await server.stop(0)


async def test_tls_serves_those_who_trust_its_ca(files: Files, strangers: Files) -> None:
    server = new_server()
    address = listen(server, ANY_PORT, ServerTls(files.certificate, files.key))
    await server.start()
    trusting = ChannelTls(ca=files.ca).credentials()
    assert await ask(grpc.aio.secure_channel(str(address), trusting)) == b"x"
    for channel in (
        grpc.aio.secure_channel(str(address), ChannelTls(ca=strangers.ca).credentials()),
        grpc.aio.secure_channel(str(address), ChannelTls().credentials()),
        grpc.aio.insecure_channel(str(address)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await ask(channel)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


async def test_mutual_tls_serves_only_those_whom_its_ca_knows(files: Files, strangers: Files) -> None:
    server = new_server()
    address = listen(server, ANY_PORT, ServerTls(files.certificate, files.key, client_ca=files.ca))
    await server.start()
    known = ChannelTls(files.ca, files.certificate, files.key)
    assert await ask(grpc.aio.secure_channel(str(address), known.credentials())) == b"x"
    for unknown in (ChannelTls(files.ca), ChannelTls(files.ca, strangers.certificate, strangers.key)):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await ask(grpc.aio.secure_channel(str(address), unknown.credentials()))
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    await server.stop(0)


def test_tls_files_that_are_missing_or_wrong_are_named(
    files: Files, strangers: Files, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    for tls, words in (
        (ServerTls(absent, files.key), "absent: the TLS certificate does not exist"),
        (ServerTls(files.certificate, absent), "absent: the TLS key does not exist"),
        (ServerTls(files.certificate, strangers.key), "not a PEM certificate chain with its"),
        (ServerTls(files.certificate, files.key, absent), "absent: the CA certificate does not exist"),
        (ServerTls(files.certificate, files.key, files.key), "not a PEM file of CA certificates"),
        (ChannelTls(tmp_path), "cannot be read"),
        (ChannelTls(files.ca, files.key, files.key), "not a PEM certificate chain with its"),
    ):
        with pytest.raises(ConfigError) as failure:
            tls.credentials()
        assert words in str(failure.value)


def test_a_name_that_nobody_knows(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="the name is unknown"):
        listen(object(), Address("nowhere.invalid", 1), ServerTls(files.certificate, files.key))  # type: ignore[arg-type]
