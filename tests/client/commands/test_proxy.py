"""`blindrelay proxy`: its start, its output, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from blindrelay.trust import format_identity
from tests.patience import PATIENCE, wait_for

from ..endpoint.conftest import running
from ..scripted_bridge import ScriptedBridge, never
from .conftest import Run, command, refused, succeeded


def test_show_token_prints_the_token(run: Run, state: Path) -> None:
    """Also before a relay is configured."""
    token = succeeded(run, "proxy", "--show-token").strip()
    assert (state / "endpoint-token").read_text().strip() == token
    shown = json.loads(succeeded(run, "proxy", "--show-token", "--json"))
    assert shown == {"token": token, "file": str(state / "endpoint-token")}


@pytest.mark.usefixtures("to_bridge")
def test_no_token_is_made_that_is_not_shown(
    run: Run, state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(run, "proxy", "--port", taken.getsockname()[1])
    assert "cannot listen on 127.0.0.1 port" in said
    assert "attempting to bind" not in said
    monkeypatch.delenv("BLINDRELAY_CONNECTION")
    monkeypatch.setenv("BLINDRELAY_CONFIG", str(tmp_path / "none.toml"))
    refused(run, "proxy", "--port", 0)
    assert not (state / "endpoint-token").exists()


def test_the_token_is_announced_once(bridge: ScriptedBridge, tmp_path: Path) -> None:
    with running(bridge.connection, tmp_path) as first:
        assert first.part.announcement["token"] == first.token
        assert first.part.announcement["bridge"] == format_identity(bridge.identity.public_key)
    with running(bridge.connection, tmp_path) as second:
        assert "token" not in second.part.announcement
        assert second.part.announcement["token_file"] == str(tmp_path / "endpoint-token")


def test_other_interfaces_need_an_option_and_give_a_warning(bridge: ScriptedBridge, tmp_path: Path) -> None:
    with running(bridge.connection, tmp_path, "--host", "0.0.0.0", "--allow-others") as endpoint:
        health = f"http://127.0.0.1:{endpoint.port}/healthz"
        assert httpx.get(health, trust_env=False, timeout=PATIENCE).status_code == 200
        endpoint.part.stop()
        assert "warning: on 0.0.0.0" in endpoint.part.stderr


@pytest.mark.usefixtures("to_bridge")
def test_address_and_new_token_are_printed(state: Path) -> None:
    with command("proxy", "--port", "0") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(4)]
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert lines[0].startswith("BlindRelay's endpoint: http://127.0.0.1:")
    assert (state / "endpoint-token").read_text().strip() in lines[3]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signal_ends_running_requests_at_once_and_quietly(
    bridge: ScriptedBridge, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Requests are not logged, not even refused ones."""
    bridge.answer = never
    with running(bridge.connection, tmp_path) as endpoint, endpoint.connect() as program:
        assert httpx.get(f"{endpoint.url}/v1/canary", trust_env=False, timeout=PATIENCE).status_code == 401
        program.sendall(endpoint.request("GET /v1/models"))
        wait_for(lambda: len(bridge.received) == 1)
        os.kill(endpoint.part.pid, number)
        assert program.recv(1) == b""
        wait_for(lambda: not endpoint.part.is_running)
        endpoint.part.stop()
        assert (endpoint.part.exit_code, endpoint.part.stderr) == (code, "")
