"""A server is bound with its real port, or one sentence says why not."""

from __future__ import annotations

import socket
from pathlib import Path

import grpc
import pytest

from blindrelay.serving import Address, ChannelTls, ConfigError, ServerTls, StartError, listen
from tests.certificates import Certificates
from tests.serving.echo_server import ANY_PORT, listening, server_of, works


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def strangers(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "strangers")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_address_has_the_real_port_and_a_second_server_is_refused(host: str) -> None:
    async with listening(Address(host, 0)) as address:
        assert await works(grpc.aio.insecure_channel(address))
        taken = Address(host, int(address.rpartition(":")[2]))
        with pytest.raises(StartError) as failure:
            listen(server_of(), taken, None)
    assert f"cannot listen on {address}: the port is taken" in str(failure.value)
    assert failure.value.exit_code == 1


async def test_address_that_is_not_this_machines_is_refused(
    files: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror

    with pytest.raises(StartError, match="this machine does not have that address"):
        listen(server_of(), Address("192.0.2.1", 0), files.server)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="the name is unknown"):
        listen(server_of(), Address("nowhere.invalid", 1), files.server)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "relay.example"])
async def test_plaintext_off_loopback_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"add a \[tls\] section"):
        listen(server_of(), Address(host, 0), None)


async def test_plaintext_contradicts_tls(files: Certificates) -> None:
    with pytest.raises(ConfigError, match=r"contradicts the \[tls\] section"):
        listen(server_of(), ANY_PORT, files.server, plaintext=True)


async def test_tls_serves_clients_that_trust_its_ca(files: Certificates, strangers: Certificates) -> None:
    async with listening(tls=files.server) as address:
        clients = ((ChannelTls(files.ca), True), (ChannelTls(strangers.ca), False), (ChannelTls(), False))
        for client, served in clients:
            assert await works(grpc.aio.secure_channel(address, client.credentials())) is served
        assert not await works(grpc.aio.insecure_channel(address))


def test_missing_or_wrong_tls_file_is_named(files: Certificates, strangers: Certificates) -> None:
    absent = files.ca.with_name("absent")
    for tls, words in (
        (ServerTls(absent, files.key), "absent: the TLS certificate does not exist"),
        (ServerTls(files.chain, absent), "absent: the TLS key does not exist"),
        (ServerTls(files.chain, strangers.key), "not a PEM certificate chain with its"),
        (ServerTls(files.chain, files.key, absent), "absent: the CA certificate does not exist"),
        (ServerTls(files.chain, files.key, files.key), "not a PEM file of CA certificates"),
        (ChannelTls(absent.parent), "cannot be read"),
        (ChannelTls(files.ca, files.key, files.key), "not a PEM certificate chain with its"),
    ):
        with pytest.raises(ConfigError) as failure:
            tls.credentials()
        assert words in str(failure.value)
