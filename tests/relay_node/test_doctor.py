"""`blindrelay-relay doctor`: a line for each check, with a remedy, and exit code 1 if one failed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from blindrelay.relay_node.cli import main
from blindrelay.serving import issue_token
from tests.relay_node.conftest import StartRelay
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.relay_process import CONFIG

TLS = '[tls]\ncertificate = "relay.pem"\nkey = "relay.key"'
NEW = timedelta(days=60)


class Doctor:
    """The command, with a relay.toml in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.tokens = folder / "relay.toml", folder / "tokens"
        self.chain, self.key = folder / "relay.pem", folder / "relay.key"
        self._capsys = capsys
        issue_token(self.tokens, "alice", datetime.now(UTC))

    def certify(self, lifetime: timedelta = NEW) -> None:
        """Makes a certificate that expires after this time."""
        now = datetime.now(UTC)
        issued = trustme.CA().issue_cert("127.0.0.1", not_before=now - timedelta(9), not_after=now + lifetime)
        issued.cert_chain_pems[0].write_to_path(self.chain)
        issued.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)

    async def examine(self, bridge: int, port: int = 0, tls: str = "") -> dict[str, Any]:
        """The findings by check. A thread finds them, since a bridge may be in this event loop."""
        self.file.write_text(CONFIG.format(port=port, bridge=bridge, options=tls))
        code = await asyncio.to_thread(main, ["doctor", "--config", str(self.file), "--json"])
        found = json.loads(self._capsys.readouterr().out)
        assert found["ok"] == (code == 0) == all(each["ok"] for each in found["checks"])
        return {each["check"]: each for each in found["checks"]}


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


async def test_all_checks_pass(doctor: Doctor, bridge: FakeBridge) -> None:
    doctor.certify()
    found = await doctor.examine(bridge.port, tls=TLS)
    assert {name: each["ok"] for name, each in found.items()} == dict.fromkeys(
        ("configuration", "tokens", "tls", "listen", "replica"), True
    )
    assert found["tls"]["detail"].endswith(("valid for 59 days", "valid for 60 days"))
    assert found["replica"]["detail"].endswith("serves a key directory (keys: 1)")


def test_each_check_is_a_line_with_a_remedy(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.file.write_text(CONFIG.format(port=0, bridge=1, options=""))
    assert main(["doctor", "--config", str(doctor.file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ok", "FAILED", "→"]
    assert "(refused): nothing listens" in lines[3]
    assert "start the bridge" in lines[4]


async def test_wrong_configuration_is_the_only_finding(doctor: Doctor) -> None:
    assert list(await doctor.examine(1, tls="surprise = 1")) == ["configuration"]


@pytest.mark.parametrize(
    ("lifetime", "mode", "words"),
    [
        (timedelta(days=13, hours=23), 0o600, "expires in 13 days"),
        (-timedelta(days=1), 0o600, "has expired"),
        (NEW, 0o644, "run chmod 600"),
    ],
)
async def test_bad_certificate_is_a_failure(
    doctor: Doctor, bridge: FakeBridge, lifetime: timedelta, mode: int, words: str
) -> None:
    doctor.certify(lifetime)
    doctor.key.chmod(mode)
    found = await doctor.examine(bridge.port, tls=TLS)
    assert not found["tls"]["ok"]
    assert words in found["tls"]["detail"]


async def test_only_the_port_of_a_running_relay_may_be_in_use(
    doctor: Doctor, bridge: FakeBridge, start_relay: StartRelay
) -> None:
    relay = await start_relay(bridge.config)
    found = await doctor.examine(bridge.port, relay.address.port)
    assert found["listen"]["ok"]
    assert "in use by a running relay" in found["listen"]["detail"]
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as taken:
        found = await doctor.examine(bridge.port, taken.sockets[0].getsockname()[1])
    assert "the port is taken" in found["listen"]["detail"]


async def test_tls_port_of_a_running_relay_is_recognised_by_its_certificate(
    doctor: Doctor, bridge: FakeBridge
) -> None:
    doctor.certify()
    pair = doctor.key.read_bytes(), doctor.chain.read_bytes()
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    assert (await doctor.examine(bridge.port, port, TLS))["listen"]["ok"]
    doctor.certify()
    found = await doctor.examine(bridge.port, port, TLS)
    assert not found["listen"]["ok"], "another certificate belongs to another program"
    await server.stop(None)


async def test_tokens_are_examined(doctor: Doctor, bridge: FakeBridge) -> None:
    bridge.refuse_fetch = grpc.StatusCode.UNAUTHENTICATED
    doctor.tokens.write_text("")
    found = await doctor.examine(bridge.port)
    assert found["tokens"]["remedy"].startswith("run `token issue NAME --tokens /")
    assert "does not accept our token" in found["replica"]["detail"]
    assert "token_file" in found["replica"]["remedy"]
