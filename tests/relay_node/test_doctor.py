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


class Doctor:
    """The command, with a relay.toml in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.code: int | None = None
        self._capsys = capsys

    def certify(self, lifetime: timedelta) -> None:
        """Makes a certificate that expires after this time."""
        now = datetime.now(UTC)
        issued = trustme.CA().issue_cert("127.0.0.1", not_before=now - timedelta(9), not_after=now + lifetime)
        issued.cert_chain_pems[0].write_to_path(self.folder / "relay.pem")
        issued.private_key_pem.write_to_path(self.folder / "relay.key")
        (self.folder / "relay.key").chmod(0o600)

    def configure(self, bridge: int, port: int = 0, tls: str = "") -> Path:
        (self.folder / "tokens").unlink(missing_ok=True)
        issue_token(self.folder / "tokens", "alice", datetime.now(UTC))
        file = self.folder / "relay.toml"
        file.write_text(CONFIG.format(port=port, bridge=bridge, options=tls))
        return file

    async def examine(self, bridge: int, port: int = 0, tls: str = "") -> dict[str, Any]:
        """The findings by check."""
        return await self.findings(self.configure(bridge, port, tls))

    async def findings(self, file: Path) -> dict[str, Any]:
        """Runs in a thread, since a bridge may be in this event loop."""
        self.code = await asyncio.to_thread(main, ["doctor", "--config", str(file), "--json"])
        found = json.loads(self._capsys.readouterr().out)
        assert found["ok"] == (self.code == 0) == all(each["ok"] for each in found["checks"])
        return {each["check"]: each for each in found["checks"]}


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


async def test_all_checks_pass(doctor: Doctor, bridge: FakeBridge) -> None:
    doctor.certify(timedelta(days=60))
    found = await doctor.examine(bridge.port, tls=TLS)
    assert doctor.code == 0
    assert list(found) == ["configuration", "tokens", "tls", "listen", "replica"]
    assert found["tls"]["detail"].endswith(("valid for 59 days", "valid for 60 days"))
    assert found["replica"]["detail"].endswith("serves a key directory (keys: 1)")


async def test_each_check_is_a_line_with_a_remedy(doctor: Doctor, capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, ["doctor", "--config", str(doctor.configure(1))]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ok", "FAILED", "→"]
    assert "(refused): nothing listens" in lines[3]
    assert "start the bridge" in lines[4]


async def test_wrong_configuration_is_the_only_finding(doctor: Doctor) -> None:
    file = doctor.folder / "relay.toml"
    file.write_text("listen = 1")
    assert list(await doctor.findings(file)) == ["configuration"]


@pytest.mark.parametrize(
    ("lifetime", "words"),
    [
        (timedelta(days=3, hours=1), "expires in 3 days"),
        (-timedelta(days=1), "has expired"),
        (timedelta(days=60), "run chmod 600"),
    ],
)
async def test_bad_certificate_is_a_failure(
    doctor: Doctor, bridge: FakeBridge, lifetime: timedelta, words: str
) -> None:
    doctor.certify(lifetime)
    if "chmod" in words:
        (doctor.folder / "relay.key").chmod(0o644)
    found = await doctor.examine(bridge.port, tls=TLS)
    assert not found["tls"]["ok"]
    assert words in found["tls"]["detail"]


async def test_port_of_another_program_is_a_failure(doctor: Doctor, bridge: FakeBridge) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as taken:
        found = await doctor.examine(bridge.port, taken.sockets[0].getsockname()[1])
    assert "the port is taken" in found["listen"]["detail"]


async def test_port_of_a_running_relay_is_recognised(
    doctor: Doctor, bridge: FakeBridge, start_relay: StartRelay
) -> None:
    relay = await start_relay(bridge.config)
    found = await doctor.examine(bridge.port, relay.address.port)
    assert doctor.code == 0
    assert "in use by a running relay" in found["listen"]["detail"]


async def test_tls_port_of_a_running_relay_is_recognised_by_its_certificate(
    doctor: Doctor, bridge: FakeBridge
) -> None:
    doctor.certify(timedelta(days=60))
    key, chain = ((doctor.folder / name).read_bytes() for name in ("relay.key", "relay.pem"))
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    assert (await doctor.examine(bridge.port, port, TLS))["listen"]["ok"]
    doctor.certify(timedelta(days=60))
    found = await doctor.examine(bridge.port, port, TLS)
    assert not found["listen"]["ok"], "another certificate belongs to another program"
    await server.stop(None)


async def test_refused_token_is_a_failure(doctor: Doctor, bridge: FakeBridge) -> None:
    bridge.refuse_fetch = grpc.StatusCode.UNAUTHENTICATED
    found = await doctor.examine(bridge.port)
    assert "does not accept our token" in found["replica"]["detail"]
    assert "token_file" in found["replica"]["remedy"]


async def test_empty_token_file_is_a_failure(doctor: Doctor, bridge: FakeBridge) -> None:
    file = doctor.configure(bridge.port)
    (doctor.folder / "tokens").write_text("")
    assert (await doctor.findings(file))["tokens"]["remedy"].startswith("run `token issue NAME --tokens /")
