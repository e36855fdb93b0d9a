"""`blindrelay-bridge`: its commands, their mistakes, and `serve` as a process."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge import Event, load_identity, load_or_make_identity
from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.keys.key_files import make_signing_key
from blindrelay.testbed.ports import free_port
from blindrelay.trust import format_identity, parse_identity
from tests.connect_proxy import connect_proxy
from tests.patience import PATIENCE, until

from .replica import DELEGATED, HELD, DelegatedReplica, configure
from .scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, stepwise
from .sealed_caller import SealedCaller, parts
from .test_log_and_metrics import NAMES


def check_mistake(capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, complaint: str) -> None:
    """The command ends with this code and one line: a bridge that never served says nothing else."""
    assert main(arguments) == code
    shown = capfd.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert shown.err.startswith("blindrelay-bridge:")
    assert complaint in shown.err


def test_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_signing_key(tmp_path / "signing.key")
    config = configure(tmp_path).read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for text, code, complaint in (
            (config.replace("127.0.0.1:0", f"127.0.0.1:{port}"), 1, "port is taken"),
            (f'metrics = "127.0.0.1:{port}"\n{config}', 1, "cannot expose metrics"),
            (config.replace(HELD, DELEGATED), 2, "the delegation does not exist"),
            (config.replace("http://", "https://") + 'ca = "none"\n', 2, "the CA certificate does not exist"),
        ):
            (tmp_path / "bridge.toml").write_text(text)
            check_mistake(capfd, ["serve", "--config", "bridge.toml"], code, complaint)
    check_mistake(capfd, ["signing-key", "--out", "signing.key"], 2, "never replaces one")
    check_mistake(capfd, ["token", "list", "--tokens", "none"], 2, "does not exist")
    delegate = ["delegate", "--key", "no.key", "--signing-key", "x", "--days", "1", "--out", "y"]
    check_mistake(capfd, delegate, 2, "does not exist")


class Doctor:
    """Runs the command; a provider entry has a credential, and `more` lines."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        (folder / "key").write_text("sk-canary")
        (folder / "key").chmod(0o600)

    def examine(self, target: str = "http://127.0.0.1:1", keys: str = HELD, more: str = "") -> dict[str, Any]:
        """Each check and its finding."""
        more += '\norigin = "https://models.example"\ncredential = { file = "key" }'
        file = configure(self.folder, target, keys=keys, more=more)
        code = main(["doctor", "--config", str(file), "--json"])
        found = json.loads(self._capsys.readouterr().out)
        assert found["ok"] == (code == 0)
        return {each["check"]: each for each in found["checks"]}


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


async def test_listening_provider_is_reached_and_sent_nothing(doctor: Doctor) -> None:
    load_or_make_identity(doctor.folder / "identity.key")
    async with ScriptedProvider().serving() as provider:
        found = await asyncio.to_thread(doctor.examine, f"http://localhost:{provider.port}")
        await until(lambda: bool(provider.connections))
        await provider.idle()
    assert provider.received == []
    assert list(found) == ["configuration", "identity", "listen", "provider"]
    assert all(each["ok"] for each in found.values())
    assert found["identity"]["detail"].startswith("br1")


def test_missing_provider_is_a_failure(doctor: Doctor) -> None:
    with connect_proxy(403) as proxy:
        through = f'proxy = "http://127.0.0.1:{proxy.port}"'
        for target, more, words, remedy in (
            ("https://models.example", through, "refused with status 403", "proxy"),
            ("https://nowhere.invalid", "", "its name was not found", "name"),
            ("http://127.0.0.1:1", "", "could not be reached", "check"),
        ):
            provider = doctor.examine(target, more=more)["provider"]
            assert words in provider["detail"]
            assert remedy in provider["remedy"]


@pytest.mark.parametrize(("days", "ok"), [(30, True), (3, False)])
def test_delegation_that_ends_soon_is_a_failure(doctor: Doctor, days: int, ok: bool) -> None:
    DelegatedReplica(doctor.folder, days, time.time())
    found = doctor.examine(keys=DELEGATED)["identity"]
    assert (found["ok"], "delegated until" in found["detail"]) == (ok, True)


def test_missing_identity_key_is_not_made(doctor: Doctor) -> None:
    found = doctor.examine()["identity"]
    assert (found["ok"], "first start" in found["detail"]) == (True, True)
    assert not (doctor.folder / "identity.key").exists()


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@dataclass
class Process:
    """A bridge that is listening, and the line that it printed."""

    process: asyncio.subprocess.Process
    line: str

    @property
    def announced(self) -> Any:
        return json.loads(self.line)

    @property
    def caller(self) -> SealedCaller:
        return SealedCaller(self.announced["listening"], parse_identity(self.announced["identity"]))

    async def stop(self, number: int = signal.SIGTERM) -> str:
        """All that went to stderr. The exit code has to be 0."""
        self.process.send_signal(number)
        _, errors = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        assert self.process.returncode == 0
        return errors.decode()


@asynccontextmanager
async def running(config: Path, *options: str) -> AsyncIterator[Process]:
    command = ("-m", "blindrelay.provider_bridge", "serve", "--config", str(config), *options)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        yield Process(process, line.decode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_bridge_announces_itself_serves_and_stops(tmp_path: Path, provider: ScriptedProvider) -> None:
    port = free_port()
    config = configure(tmp_path, provider.origin, top=f'metrics = "127.0.0.1:{port}"')
    async with running(config, "--json") as bridge:
        identity = format_identity(load_identity(tmp_path / "identity.key").public_key)
        assert bridge.announced["identity"] == identity
        async with bridge.caller as caller:
            assert (await caller.exchange(body=b'{"user":"canary"}')).status == 200
        _silent, to_silent = await asyncio.open_connection("127.0.0.1", port)  # it holds nothing up
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        page = (await reader.read()).decode()
        assert re.findall(r"^# TYPE (\S+)", page, re.MULTILINE) == NAMES
        assert "blindrelay_bridge_live_keys 1.0" in page
        errors = await bridge.stop()
        to_silent.close()
        writer.close()
    events = [json.loads(line) for line in errors.splitlines()]
    assert {event["event"] for event in events} == {"serving", "draining", "exchanges", "stopped"}
    assert [event["outcomes"] for event in events if "outcomes" in event] == [{"completed": 10}]
    for secret in ("canary", "/v1", str(provider.port)):
        assert secret not in errors
    assert names(tmp_path) == ["bridge.toml", "identity.key"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_bridge_without_the_identity_key_serves_and_drains(
    tmp_path: Path, provider: ScriptedProvider, number: int
) -> None:
    replica = DelegatedReplica(tmp_path, days=1, now=time.time())
    release = asyncio.Semaphore(0)
    provider.script = stepwise(release, EVENT_STREAM, chunk(b"end") + LAST_CHUNK)
    config = configure(tmp_path, provider.origin, keys=DELEGATED)
    async with running(config, "--json") as bridge, bridge.caller as caller:
        assert bridge.announced["identity"] == format_identity(replica.identity.public_key)
        request = await caller.seal()
        received = parts(await caller.send(request), request)
        await anext(received)
        stopping = asyncio.create_task(bridge.stop(number))
        await asyncio.sleep(0.3)
        release.release()
        assert b"".join([part.body async for part in received]) == b"end"
        errors = await stopping
    assert {"draining", "delegation_ends_in_a_day"} <= {
        json.loads(line)["event"] for line in errors.splitlines()
    }
    assert names(tmp_path) == ["bridge.toml", "delegation", "signing.key"]


def rotate(folder: Path, secret: str) -> None:
    (folder / "openai.key").write_text(secret)
    (folder / "openai.key").chmod(0o600)


async def test_credential_file_is_followed_and_sighup_reads_it_again(
    tmp_path: Path, provider: ScriptedProvider
) -> None:
    rotate(tmp_path, "sk-first")
    config = configure(tmp_path, provider.origin, more='credential = { file = "openai.key" }')
    async with running(config, "--json") as bridge, bridge.caller as caller:
        for secret, shown, hangs_up in (
            ("sk-first", "sk-first", False),
            ("sk-second", "sk-second", False),
            ("not one secret", "sk-second", True),
            ("sk-third", "sk-third", True),
        ):
            rotate(tmp_path, secret)
            if hangs_up:
                bridge.process.send_signal(signal.SIGHUP)
            assert (await caller.exchange()).status == 200
            assert provider.received[-1].named[b"authorization"] == f"Bearer {shown}".encode()
        errors = await bridge.stop()
    assert errors.count(Event.REREAD.value) == 2
    assert errors.count(Event.PROVIDER_FILES_UNUSABLE.value) == 1
    assert "secret" not in errors


async def test_sighup_notices_a_broken_file_without_a_call(tmp_path: Path) -> None:
    rotate(tmp_path, "sk-first")
    async with running(configure(tmp_path, more='credential = { file = "openai.key" }')) as bridge:
        identity = format_identity(load_identity(tmp_path / "identity.key").public_key)
        assert re.search(rf"127\.0\.0\.1:\d+.* {identity}\n", bridge.line)
        rotate(tmp_path, "")
        bridge.process.send_signal(signal.SIGHUP)
        assert Event.PROVIDER_FILES_UNUSABLE.value in await bridge.stop()
