"""`blindrelay-relay doctor`: a line for each check, with what to do, and exit code 1 if one failed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trustme

from blindrelay.relay_node.cli import main
from blindrelay.serving import issue_token

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, StartRelay

CONFIG = """
listen = "127.0.0.1:{listen}"
tokens = "tokens"
{tls}
[[replica]]
address = "127.0.0.1:{bridge}"
"""
TLS = '[tls]\ncertificate = "relay.pem"\nkey = "relay.key"'


def configure(folder: Path, bridge: int, listen: int = 0, tls: str = "") -> Path:
    (folder / "tokens").unlink(missing_ok=True)
    issue_token(folder / "tokens", "alice", datetime.now(UTC))
    file = folder / "relay.toml"
    file.write_text(CONFIG.format(listen=listen, bridge=bridge, tls=tls))
    return file


def certify(folder: Path, ends_in: timedelta) -> None:
    now = datetime.now(UTC)
    certificate = trustme.CA().issue_cert("127.0.0.1", not_before=now - timedelta(9), not_after=now + ends_in)
    certificate.cert_chain_pems[0].write_to_path(folder / "relay.pem")
    certificate.private_key_pem.write_to_path(folder / "relay.key")
    (folder / "relay.key").chmod(0o600)


async def examined(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """The exit code, and the findings by check, in a thread: a bridge may be in this event loop."""
    code = await asyncio.to_thread(main, ["doctor", "--config", str(file), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] == (code == 0) == all(each["ok"] for each in found["checks"])
    return code, {each["check"]: each for each in found["checks"]}


async def test_all_is_well(bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certify(tmp_path, timedelta(days=60))
    code, found = await examined(configure(tmp_path, bridge.port, tls=TLS), capsys)
    assert code == 0
    assert list(found) == ["configuration", "tokens", "tls", "listen", "replica"]
    assert "valid for 59 days" in found["tls"]["detail"] or "valid for 60 days" in found["tls"]["detail"]
    assert found["replica"]["detail"].endswith("lists 1 keys")


async def test_it_says_a_line_for_each_check_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configure(tmp_path, 1)
    assert await asyncio.to_thread(main, ["doctor", "--config", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "ok", "FAILED", "→"]
    assert "(refused): nothing listens" in lines[3]
    assert "start the bridge" in lines[4]


async def test_a_wrong_configuration_is_the_only_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "relay.toml").write_text("listen = 1")
    code, found = await examined(tmp_path / "relay.toml", capsys)
    assert (code, list(found)) == (1, ["configuration"])


@pytest.mark.parametrize(
    ("ends_in", "words"), [(timedelta(days=3, hours=1), "expires in 3 days"), (-timedelta(days=1), "has expired")]
)
async def test_a_certificate_that_ends_is_a_failure(
    bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str], ends_in: timedelta, words: str
) -> None:
    certify(tmp_path, ends_in)
    code, found = await examined(configure(tmp_path, bridge.port, tls=TLS), capsys)
    assert code == 1
    assert words in found["tls"]["detail"]


async def test_a_key_that_others_can_read_is_a_failure(
    bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certify(tmp_path, timedelta(days=60))
    (tmp_path / "relay.key").chmod(0o644)
    _, found = await examined(configure(tmp_path, bridge.port, tls=TLS), capsys)
    assert "run chmod 600" in found["tls"]["detail"]


async def test_a_port_of_another_program_is_a_failure(
    bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as taken:
        port = taken.sockets[0].getsockname()[1]
        _, found = await examined(configure(tmp_path, bridge.port, port), capsys)
    assert "the port is taken" in found["listen"]["detail"]


async def test_the_port_of_a_running_relay_is_none(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relay = await start_relay(bridge.config)
    code, found = await examined(configure(tmp_path, bridge.port, relay.address.port), capsys)
    assert code == 0
    assert "in use by a running relay" in found["listen"]["detail"]


async def test_the_tls_port_of_a_running_relay_is_known_by_its_certificate(
    bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certify(tmp_path, timedelta(days=60))
    files = [(tmp_path / "relay.key").read_bytes(), (tmp_path / "relay.pem").read_bytes()]
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(files[0], files[1])]))
    await server.start()
    _, found = await examined(configure(tmp_path, bridge.port, port, TLS), capsys)
    assert found["listen"]["ok"]
    certify(tmp_path, timedelta(days=60))
    _, found = await examined(configure(tmp_path, bridge.port, port, TLS), capsys)
    assert not found["listen"]["ok"], "another certificate, another program"
    await server.stop(None)


async def test_a_refused_token_is_a_failure(
    bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge.refuse_fetch = grpc.StatusCode.UNAUTHENTICATED
    _, found = await examined(configure(tmp_path, bridge.port), capsys)
    assert "does not accept our token" in found["replica"]["detail"]
    assert "token_file" in found["replica"]["remedy"]


async def test_no_tokens_is_a_failure(
    bridge: FakeBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = configure(tmp_path, bridge.port)
    (tmp_path / "tokens").write_text("")
    _, found = await examined(file, capsys)
    assert found["tokens"]["remedy"] == "run `token issue NAME`"
