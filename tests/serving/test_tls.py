"""Certificate files that are replaced count from the next connection on, and broken ones not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
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
    files,
    listen,
    server_options,
)
from blindrelay.serving.tls import _FollowedFiles

HOST = "127.0.0.1"


@dataclass
class Listener:
    """A server with TLS, whose files a test replaces."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)
    problems: list[ConfigError] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self.tls = ServerTls(self.folder / "cert.pem", self.folder / "key.pem", self.folder / "clients.pem")
        self.issue()
        self.admit(self.ca)

    def issue(self, common_name: str = "first") -> None:
        """A new certificate, in the files."""
        issued = self.ca.issue_cert(HOST, common_name=common_name)
        issued.cert_chain_pems[0].write_to_path(self.tls.certificate)
        issued.private_key_pem.write_to_path(self.tls.key)
        self.tls.key.chmod(0o600)

    def admit(self, ca: trustme.CA) -> None:
        """Clients of another CA, in the file."""
        assert self.tls.client_ca is not None
        ca.cert_pem.write_to_path(self.tls.client_ca)

    def client(self, ca: trustme.CA) -> ChannelTls:
        """A client with a certificate of that CA."""
        mine = ChannelTls(*(self.folder / f"client-{name}" for name in ("ca", "cert", "key")))
        assert mine.ca is not None
        assert mine.certificate is not None
        assert mine.key is not None
        issued = ca.issue_cert("client")
        self.ca.cert_pem.write_to_path(mine.ca)
        issued.cert_chain_pems[0].write_to_path(mine.certificate)
        issued.private_key_pem.write_to_path(mine.key)
        mine.key.chmod(0o600)
        return mine

    async def shown(self) -> str:
        """The common name in the certificate that a new connection is shown."""
        return await asyncio.to_thread(self._shown)

    def _shown(self) -> str:
        context = ssl.create_default_context(cadata=self.ca.cert_pem.bytes().decode())
        context.set_alpn_protocols(["h2"])
        port = int(self.address.rpartition(":")[2])
        with (
            socket.create_connection((HOST, port)) as connection,
            context.wrap_socket(connection, server_hostname=HOST) as encrypted,
        ):
            certificate: Any = encrypted.getpeercert()
            return str(dict(entry[0] for entry in certificate["subject"])["commonName"])


@contextlib.asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Listener]:
    async def echo(message: bytes, context: Any) -> bytes:
        return message

    listener = Listener(folder)
    server = grpc.aio.server(options=server_options(STREAMS_PER_CLIENT))
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"C": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", methods),))
    address = listen(server, Address(HOST, 0), listener.tls, on_problem=listener.problems.append)
    listener.address = str(address)
    await server.start()
    yield listener
    await server.stop(0)


@contextlib.asynccontextmanager
async def echoed(listener: Listener, tls: ChannelTls) -> AsyncIterator[Any]:
    async with grpc.aio.secure_channel(listener.address, tls.credentials()) as channel:
        call: Any = channel.unary_unary("/a.B/C")
        yield call


async def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_live_on(tmp_path: Path) -> None:
    async with listening(tmp_path) as listener, echoed(listener, listener.client(listener.ca)) as call:
        assert await call(b"before", timeout=20) == b"before"
        assert await listener.shown() == "first"
        listener.issue("second")
        assert await listener.shown() == "second"
        assert await call(b"after", timeout=20) == b"after"
        assert listener.problems == []


async def test_what_cannot_be_used_is_reported_once_and_the_old_files_serve_on(tmp_path: Path) -> None:
    async with listening(tmp_path) as listener:
        listener.tls.certificate.write_text("half a certif")
        assert [await listener.shown() for _ in range(3)] == ["first"] * 3
        listener.tls.certificate.unlink()
        assert await listener.shown() == "first"
        whole = trustme.CA().issue_cert(HOST)
        whole.cert_chain_pems[0].write_to_path(listener.tls.certificate)
        assert await listener.shown() == "first", "its key has not been written yet"
        problems = [str(problem) for problem in listener.problems]
        assert len(problems) == 3
        assert "not a PEM certificate chain with its" in problems[0]
        assert "the TLS certificate does not exist" in problems[1]
        assert "not a PEM certificate chain with its" in problems[2]
        listener.issue("second")
        assert await listener.shown() == "second"
        assert len(listener.problems) == 3


def test_what_could_not_be_read_for_a_moment_is_read_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_descriptors: Callable[[], AbstractContextManager[None]],
) -> None:
    monkeypatch.setattr(files, "RETRY_SECONDS", 0.0)
    listener = Listener(tmp_path)
    followed = _FollowedFiles(listener.tls, listener.problems.append)
    listener.issue("second")
    with no_descriptors():
        assert [followed.changed() for _ in range(3)] == [None] * 3
    assert followed.changed() is not None
    assert followed.changed() is None
    assert len(listener.problems) == 1


async def test_a_key_that_others_can_read_is_not_taken_over(tmp_path: Path) -> None:
    async with listening(tmp_path) as listener:
        listener.issue("second")
        listener.tls.key.chmod(0o644)
        assert await listener.shown() == "first"
        listener.tls.key.chmod(0o600)
        assert await listener.shown() == "second"
        assert ["is open to others" in str(problem) for problem in listener.problems] == [True]


async def test_whom_the_listener_admits_changes_with_the_file_of_its_clients_ca(tmp_path: Path) -> None:
    others = trustme.CA()
    async with listening(tmp_path) as listener:
        ours, theirs = listener.client(listener.ca).credentials(), listener.client(others).credentials()
        for admitted, refused in ((ours, theirs), (theirs, ours)):
            async with grpc.aio.secure_channel(listener.address, admitted) as channel:
                call: Any = channel.unary_unary("/a.B/C")
                assert await call(b"x", timeout=20) == b"x"
            async with grpc.aio.secure_channel(listener.address, refused) as channel:
                call = channel.unary_unary("/a.B/C")
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(b"x", timeout=20)
            listener.admit(others)
