"""A server is bound with its real port, or one sentence says why not. Its certificate can be replaced."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import grpc
import pytest
import trustme

from blindrelay.serving import Address, ChannelTls, ConfigError, ServerTls, StartError, listen
from blindrelay.serving.files import read_files_again
from blindrelay.serving.tls import _FollowedFiles
from tests.certificates import Certificates
from tests.patience import PATIENCE
from tests.serving.echo_server import ANY_PORT, listening, server_of, unary, works


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


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
async def test_plaintext_off_loopback_is_refused(files: Certificates, host: str) -> None:
    with pytest.raises(ConfigError, match=r"add a \[tls\] section"):
        listen(server_of(), Address(host, 0), None)
    with pytest.raises(ConfigError, match=r"contradicts the \[tls\] section"):
        listen(server_of(), ANY_PORT, files.server, plaintext=True)


async def test_tls_serves_clients_that_trust_its_ca(files: Certificates, tmp_path: Path) -> None:
    strangers = Certificates(tmp_path / "strangers")
    async with listening(tls=files.server) as address:
        clients = ((ChannelTls(files.ca), True), (ChannelTls(strangers.ca), False), (ChannelTls(), False))
        for client, served in clients:
            assert await works(grpc.aio.secure_channel(address, client.credentials())) is served
        assert not await works(grpc.aio.insecure_channel(address))


def test_missing_or_wrong_tls_file_is_named(files: Certificates, tmp_path: Path) -> None:
    absent, strangers = tmp_path / "absent", Certificates(tmp_path / "strangers")
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


async def shown(address: str) -> bytes:
    """The certificate that a new connection gets."""
    host, _, port = address.rpartition(":")
    return ssl.PEM_cert_to_DER_cert(await asyncio.to_thread(ssl.get_server_certificate, (host, int(port))))


def certificate(files: Certificates) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.chain.read_text())


async def test_new_connections_get_the_new_certificate_and_old_ones_continue(files: Certificates) -> None:
    problems: list[ConfigError] = []
    trusting = files.client(trusts=files.ca).credentials()
    async with (
        listening(tls=files.server, on_problem=problems.append) as address,
        grpc.aio.secure_channel(address, trusting) as channel,
    ):
        assert await unary(channel)(b"before", timeout=PATIENCE) == b"before"
        followed = _FollowedFiles(files.server, problems.append)
        files.issue("second")
        assert [followed.changed() is None for _ in range(2)] == [False, True], "gRPC is told once"
        assert await shown(address) == certificate(files)
        assert await unary(channel)(b"after", timeout=PATIENCE) == b"after"
    assert problems == []


async def test_unusable_files_are_reported_once_and_the_old_ones_stay(files: Certificates) -> None:
    problems: list[str] = []
    first = certificate(files)
    async with listening(tls=files.server, on_problem=lambda error: problems.append(str(error))) as address:
        files.chain.write_text("half a certif")
        read_files_again()
        assert len(problems) == 1, "reported before the next connection"
        assert [await shown(address) for _ in range(3)] == [first] * 3
        assert "not a PEM certificate chain with its" in problems.pop()
        files.chain.unlink()
        assert await shown(address) == first
        assert "the TLS certificate does not exist" in problems.pop()
        trustme.CA().issue_cert("127.0.0.1").cert_chain_pems[0].write_to_path(files.chain)
        assert await shown(address) == first, "its key has not been written yet"
        assert "not a PEM certificate chain with its" in problems.pop()
        files.issue("second")
        files.key.chmod(0o644)
        assert await shown(address) == first
        files.key.chmod(0o600)
        async with asyncio.timeout(PATIENCE):  # within one tick of the clock, a change is seen later
            while await shown(address) != certificate(files):
                pass
    assert "is open to others" in problems.pop()
    assert problems == []


async def test_admitted_clients_change_with_the_client_ca_file(files: Certificates, tmp_path: Path) -> None:
    ours, theirs = (Certificates(tmp_path / name) for name in ("ours", "theirs"))
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(ours.ca.read_bytes())
    async with listening(tls=ServerTls(files.chain, files.key, client_ca)) as address:
        for admitted, refused in ((ours, theirs), (theirs, ours)):
            client_ca.write_bytes(admitted.ca.read_bytes())
            for client, served in (
                (admitted.client(trusts=files.ca), True),
                (refused.client(trusts=files.ca), False),
                (ChannelTls(files.ca), False),
            ):
                assert await works(grpc.aio.secure_channel(address, client.credentials())) is served
