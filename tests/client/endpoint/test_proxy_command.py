"""`blindrelay proxy`: how it starts, what it says, how it ends, and its status page."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from blindrelay.client.cli import main
from blindrelay.trust import format_identity

from ..conftest import Received, Responder, ScriptedBridge
from .conftest import Endpoint, running, wait_for

CANARY = "canary-7fba"


@pytest.fixture
def connection(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BLINDRELAY_CONNECTION", bridge.connection)
    return bridge.connection


def test_the_token_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    """Also before a relay is configured."""
    assert main(["proxy", "--show-token"]) == 0
    token = capsys.readouterr().out.strip()
    assert (state / "endpoint-token").read_text().strip() == token
    assert main(["proxy", "--show-token", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"token": token, "file": str(state / "endpoint-token")}


def test_the_token_is_announced_once(bridge: ScriptedBridge, tmp_path: Path) -> None:
    with running(bridge.connection, tmp_path) as first:
        assert first.part.announcement["token"] == first.token
        assert first.part.announcement["bridge"] == format_identity(bridge.identity.public_key)
    with running(bridge.connection, tmp_path) as second:
        assert "token" not in second.part.announcement
        assert second.part.announcement["token_file"] == str(tmp_path / "endpoint-token")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "--port"),
        (["--host", "0.0.0.0"], "--allow-others"),
        (["--host", "::"], "--allow-others"),
        (["--host", "localhost"], "--host is an address"),
        (["--provider", "nobody"], "--provider is one of anthropic, cohere"),
        (["--relay", "nothing"], "blindrelay://"),
        (["extra"], "extra"),
    ],
)
@pytest.mark.usefixtures("connection")
def test_wrong_input_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["proxy", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("connection")
def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["proxy", "--port", str(taken.getsockname()[1])]) == 2
    error = capsys.readouterr().err
    assert "cannot listen on 127.0.0.1 port" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("connection")
def test_a_token_that_others_may_read_is_not_used(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    main(["proxy", "--show-token"])
    (state / "endpoint-token").chmod(0o644)
    assert main(["proxy"]) == 2
    assert "open to others" in capsys.readouterr().err


def test_other_interfaces_when_told_with_a_warning(bridge: ScriptedBridge, tmp_path: Path) -> None:
    with running(bridge.connection, tmp_path, "--host", "0.0.0.0", "--allow-others") as endpoint:
        assert httpx.get(f"http://127.0.0.1:{endpoint.port}/healthz", trust_env=False).status_code == 200
        endpoint.part.stop()
        assert "warning: on 0.0.0.0" in endpoint.part.stderr


def test_people_read_where_it_is_and_the_new_token(bridge: ScriptedBridge, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blindrelay.client", "proxy", "--port", "0"]
    environment = {
        **os.environ,
        "BLINDRELAY_STATE": str(tmp_path),
        "BLINDRELAY_CONNECTION": bridge.connection,
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.terminate()
        assert process.wait(30) == 0
    assert lines[0].startswith("BlindRelay's endpoint: http://127.0.0.1:")
    assert (tmp_path / "endpoint-token").read_text().strip() in lines[3]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_ends_at_once_and_quietly_with_what_runs(
    bridge: ScriptedBridge, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    asked, never = threading.Event(), threading.Event()

    async def silent(_: Received, respond: Responder) -> None:
        asked.set()
        await bridge.stall(never)

    bridge.answer = silent
    with running(bridge.connection, tmp_path) as endpoint:
        failed: list[Exception] = []
        program = threading.Thread(target=lambda: failed.append(_failure(endpoint)))
        program.start()
        assert asked.wait(30)
        os.kill(endpoint.part.pid, number)
        program.join(30)
        wait_for(lambda: not endpoint.part.is_running)
        endpoint.part.stop()
        assert endpoint.part.exit_code == code
        assert endpoint.part.stderr == ""
    assert isinstance(failed[0], httpx.TransportError)
    never.set()


def _failure(endpoint: Endpoint) -> Exception:
    try:
        with endpoint.client(timeout=60) as client:
            client.get("/v1/models")
    except httpx.HTTPError as error:
        return error
    return AssertionError("it was answered")


def test_nothing_is_written_about_requests(bridge: ScriptedBridge, tmp_path: Path) -> None:
    with running(bridge.connection, tmp_path) as endpoint:
        with endpoint.client() as client:
            assert client.post(f"/openai/{CANARY}", json={"a": CANARY}).status_code == 200
            assert client.get(f"/{CANARY}", headers={"x-api-key": "wrong"}).status_code == 404
        endpoint.part.stop()
        assert endpoint.part.stderr == ""


class Page(HTMLParser):
    """The text of a page's cells, and the tags in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag in ("td", "dd"):
            self.cells.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("td", "dd")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def test_the_status_page_shows_the_exchange_and_not_its_content(
    bridge: ScriptedBridge, tmp_path: Path
) -> None:
    async def canary(_: Received, respond: Responder) -> None:
        await respond.whole(CANARY.encode())

    bridge.answer = canary
    with running(bridge.connection, tmp_path) as endpoint:
        empty = Page(httpx.get(endpoint.url, trust_env=False).text)
        assert "table" not in empty.tags
        with endpoint.client() as client:
            assert client.post(f"/openai/{CANARY}", json={"a": CANARY}).text == CANARY
        answer = httpx.get(endpoint.url, trust_env=False)
    page = Page(answer.text)
    assert format_identity(bridge.identity.public_key) in page.cells
    assert endpoint.part.announcement["relay"] in page.cells
    assert any(bridge.key.key_id.hex()[:8] in cell and "epoch" in cell for cell in page.cells)
    _, seconds, up, down, records, units, key, _, outcome = page.cells[-9:]
    assert float(seconds) >= 0
    assert int(up.replace(",", "")) > 4_096
    assert int(down.replace(",", "")) > 4_096
    assert (records, units, key) == ("2", "1,000,000", bridge.key.key_id.hex()[:8])
    assert outcome == "whole"
    assert CANARY not in answer.text
    assert endpoint.token not in answer.text
    assert "script" not in page.tags
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_status_page_shows_the_last_fifty(bridged: Endpoint) -> None:
    with bridged.client() as client:
        for _ in range(52):
            client.get("/v1/models")
    assert httpx.get(bridged.url, trust_env=False).text.count("<tr>") == 51
