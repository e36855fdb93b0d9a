"""A server is bound with its real port, or one sentence says why not."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest

from blindrelay.serving import Address, ChannelTls, ConfigError, ServerTls, StartError, listen
from tests.certificates import Certificates
from tests.serving.echo_server import ANY_PORT, echo_server, listening, works


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def strangers(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "strangers")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_address_has_the_real_port(host: str) -> None:
    async with listening(Address(host, 0)) as address:
        assert not address.endswith(":0")
        assert await works(grpc.aio.insecure_channel(address))


async def test_second_server_on_the_port_is_refused() -> None:
    async with listening() as address:
        taken = Address("127.0.0.1", int(address.rpartition(":")[2]))
        with pytest.raises(StartError, match=f"cannot listen on {address}: the port is taken") as failure:
            listen(echo_server(), taken, None)
    assert failure.value.exit_code == 1


async def test_address_of_another_machine_is_refused(files: Certificates) -> None:
    with pytest.raises(StartError, match="this machine does not have that address"):
        listen(echo_server(), Address("192.0.2.1", 0), files.server)


async def test_unknown_name_is_refused(files: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="the name is unknown"):
        listen(echo_server(), Address("nowhere.invalid", 1), files.server)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "relay.example"])
async def test_plaintext_off_loopback_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"add a \[tls\] section"):
        listen(echo_server(), Address(host, 0), None)


async def test_plaintext_contradicts_tls(files: Certificates) -> None:
    with pytest.raises(ConfigError, match=r"contradicts the \[tls\] section"):
        listen(echo_server(), ANY_PORT, files.server, plaintext=True)


async def test_tls_serves_clients_that_trust_its_ca(files: Certificates, strangers: Certificates) -> None:
    async with listening(tls=files.server) as address:
        for tls, served in (
            (ChannelTls(files.ca), True),
            (ChannelTls(strangers.ca), False),
            (ChannelTls(), False),
        ):
            assert await works(grpc.aio.secure_channel(address, tls.credentials())) is served
        assert not await works(grpc.aio.insecure_channel(address))


async def test_mutual_tls_serves_clients_of_its_ca_only(files: Certificates, strangers: Certificates) -> None:
    tls = ServerTls(files.chain, files.key, client_ca=files.ca)
    async with listening(tls=tls) as address:
        for client, served in (
            (files.client(trusts=files.ca), True),
            (ChannelTls(files.ca), False),
            (strangers.client(trusts=files.ca), False),
        ):
            assert await works(grpc.aio.secure_channel(address, client.credentials())) is served


def test_missing_or_wrong_tls_file_is_named(
    files: Certificates, strangers: Certificates, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    for tls, words in (
        (ServerTls(absent, files.key), "absent: the TLS certificate does not exist"),
        (ServerTls(files.chain, absent), "absent: the TLS key does not exist"),
        (ServerTls(files.chain, strangers.key), "not a PEM certificate chain with its"),
        (ServerTls(files.chain, files.key, absent), "absent: the CA certificate does not exist"),
        (ServerTls(files.chain, files.key, files.key), "not a PEM file of CA certificates"),
        (ChannelTls(tmp_path), "cannot be read"),
        (ChannelTls(files.ca, files.key, files.key), "not a PEM certificate chain with its"),
    ):
        with pytest.raises(ConfigError) as failure:
            tls.credentials()
        assert words in str(failure.value)
