"""HTTP proxies between client and relay, and between relay and bridge: only configured ones are used."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import trustme

from blindrelay.client import ConnectionConfig, SealedTransport
from blindrelay.client.commands.doctor.checks import Examination
from blindrelay.client.commands.doctor.findings import Status
from blindrelay.relay_node import ReplicaConfig, open_channel
from blindrelay.serving import ChannelTls, parse_address
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.http_proxy import HttpProxy
from tests.patience import PATIENCE

from ..connect_proxy import connect_proxy
from .conftest import URL
from .scripted_bridge import ScriptedBridge


@dataclass
class TlsBridge(ScriptedBridge):
    """The scripted bridge behind TLS, as relay.example."""

    authority = trustme.CA()

    def add_port(self, server: grpc.aio.Server) -> int:
        issued = self.authority.issue_cert("relay.example")
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        pair = (issued.private_key_pem.bytes(), chain)
        return server.add_secure_port(f"127.0.0.1:{self.port}", grpc.ssl_server_credentials([pair]))


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[TlsBridge]:
    with closing(TlsBridge()) as bridge:
        bridge.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        yield bridge


@pytest.fixture
def connection(relay: TlsBridge, tmp_path: Path) -> str:
    """A connection to a name that only the proxy can resolve."""
    named = relay.connection.replace("127.0.0.1", "relay.example")
    return named.replace("tls=off", f"ca={tmp_path}/ca.pem")


def test_relay_is_reached_only_through_the_proxy(
    relay: TlsBridge, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with connect_proxy() as proxy:
        by_option = f"{connection}&proxy=http://user%2520name:p%253Ass@127.0.0.1:{proxy.port}"
        with SealedTransport(by_option).httpx2_client() as client:
            assert client.get(URL).status_code == 200
        monkeypatch.setenv("BLINDRELAY_PROXY", f"127.0.0.1:{proxy.port}")
        with SealedTransport(connection).httpx2_client() as client:
            assert client.get(URL).status_code == 200
    first, second = proxy.requests
    assert first.startswith(f"CONNECT relay.example:{relay.port} HTTP/1.1\r\n")
    credentials = base64.b64encode(b"user name:p:ss").decode()
    assert f"Proxy-Authorization: Basic {credentials}" in first
    assert "Proxy-Authorization" not in second


def test_proxy_of_environment_is_not_used(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is BLINDRELAY_PROXY for a relay on this machine."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTPS_PROXY", "BLINDRELAY_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with bridge.client() as client:
        assert client.get(URL).status_code == 200


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (407, "the proxy 127.0.0.1:{port} wants another user and password (407)"),
        (403, "the proxy 127.0.0.1:{port} refused to connect to it (403)"),
        (None, "Is the proxy 127.0.0.1:1 running?"),
    ],
)
def test_failure_of_the_proxy_is_reported(status: int | None, message: str, connection: str) -> None:
    with connect_proxy(status or 200) as proxy:
        port = proxy.port if status else 1
        sealed = SealedTransport(f"{connection}&proxy=http://u:secret@127.0.0.1:{port}")
        with sealed.httpx2_client() as client, pytest.raises(httpx2.ConnectError) as raised:
            client.get(URL)
        assert message.format(port=port) in str(raised.value)
    assert "secret" not in f"{raised.value} {sealed.connection!r}"


@pytest.mark.parametrize(
    ("status", "outcome", "detail"),
    [
        (200, Status.OK, "through the proxy 127.0.0.1:"),
        (403, Status.FAILED, "refused to connect to it (403)"),
    ],
)
def test_doctor_uses_the_proxy(status: int, outcome: Status, detail: str, connection: str) -> None:
    with connect_proxy(status) as proxy:
        by_proxy = ConnectionConfig.from_string(f"{connection}&history=off&proxy=127.0.0.1:{proxy.port}")
        findings = {each.check: each for each in Examination(lambda: by_proxy).findings()}
    assert (findings["tcp"].status, findings["identity"].status is Status.OK) == (outcome, status == 200)
    assert detail in findings["tcp"].detail


async def test_relay_reaches_its_bridge_through_a_proxy(relay: TlsBridge, tmp_path: Path) -> None:
    with connect_proxy() as proxy:
        replica = ReplicaConfig(
            parse_address(f"relay.example:{relay.port}"),
            ChannelTls(tmp_path / "ca.pem"),
            proxy=HttpProxy.parse(f"http://127.0.0.1:{proxy.port}"),
        )
        async with open_channel(replica) as channel:
            call: Any = channel.unary_unary(KEY_DIRECTORY_METHOD)
            answer = await call(b"", metadata=(("authorization", "Bearer brt_test"),), timeout=PATIENCE)
    assert len(GetKeyDirectoryResponse.FromString(answer).directories) == 1
    assert proxy.requests[0].startswith(f"CONNECT relay.example:{relay.port} ")
