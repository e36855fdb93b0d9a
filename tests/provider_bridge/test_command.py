"""The command as a process: what it prints, how it ends, what it keeps and what it holds in memory."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from blindrelay.provider_bridge import Event, load_identity, load_or_make_identity
from blindrelay.provider_bridge.cli import main
from blindrelay.provider_bridge.keys.delegation_file import make_delegation, write_delegation
from blindrelay.provider_bridge.keys.key_files import make_signing_key
from blindrelay.trust import IdentityKey, format_identity, parse_identity
from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT

from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received
from .sealed_caller import SealedCaller, parts, request_head
from .test_metrics import NAMES

MIB = 1 << 20
DELEGATED = 'signing_key = "signing.key"\ndelegation = "delegation"'


def configure(
    folder: Path, provider: FakeProvider | None = None, listen: str = "127.0.0.1:0", more: str = ""
) -> Path:
    target = "http://127.0.0.1:1" if provider is None else provider.origin
    path = folder / "bridge.toml"
    path.write_text(
        f'listen = "{listen}"\nidentity_key = "identity.key"\n{more}\n'
        f'[[provider]]\nname = "openai"\npreset = "openai"\ntarget = "{target}"\n'
    )
    return path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@dataclass
class Process:
    """A bridge that is listening."""

    process: asyncio.subprocess.Process
    line: str

    @property
    def announced(self) -> dict[str, str]:
        announced: dict[str, str] = json.loads(self.line)
        return announced

    @property
    def caller(self) -> SealedCaller:
        return SealedCaller(self.announced["listening"], parse_identity(self.announced["identity"]))

    def peak_memory(self) -> int:
        """Bytes, the most that were resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1_024

    async def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """The exit code, and all that went to stderr."""
        self.process.send_signal(number)
        _, errors = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


@asynccontextmanager
async def running(config: Path, *arguments: str) -> AsyncIterator[Process]:
    """The command with these arguments, or serving with a configuration and --json."""
    arguments = arguments or ("serve", "--config", str(config), "--json")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "blindrelay.provider_bridge", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield Process(process, line.decode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_serves_says_where_and_stops(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(configure(tmp_path, provider)) as bridge:
        identity = format_identity(load_identity(tmp_path / "identity.key").public_key)
        assert bridge.announced["identity"] == identity
        async with bridge.caller as caller:
            assert (await caller.exchange(body=b'{"user":"canary"}')).status == 200
        code, errors = await bridge.stop()
    assert code == 0
    events = [json.loads(line) for line in errors.splitlines()]
    assert {event["event"] for event in events} == {"serving", "draining", "exchanges", "stopped"}
    assert [event["outcomes"] for event in events if "outcomes" in event] == [{"completed": 10}]
    assert "canary" not in errors
    assert "/v1" not in errors
    assert str(provider.port) not in errors
    assert names(tmp_path) == ["bridge.toml", "identity.key"]


async def test_it_says_so_to_people_too(tmp_path: Path) -> None:
    async with running(configure(tmp_path), "serve", "--config", str(tmp_path / "bridge.toml")) as bridge:
        identity = format_identity(load_identity(tmp_path / "identity.key").public_key)
        assert re.fullmatch(
            rf"The bridge listens on 127\.0\.0\.1:\d+\. Clients pin its identity: {identity}\n", bridge.line
        )
        assert (await bridge.stop())[0] == 0


async def test_it_serves_without_the_identity_key(tmp_path: Path, provider: FakeProvider) -> None:
    identity = IdentityKey.generate()
    public_key = make_signing_key(tmp_path / "signing.key").public_key
    write_delegation(tmp_path / "delegation", make_delegation(identity, public_key, 1, time.time()))
    config = configure(tmp_path, provider)
    config.write_text(config.read_text().replace('identity_key = "identity.key"', DELEGATED))
    async with running(config) as bridge:
        assert bridge.announced["identity"] == format_identity(identity.public_key)
        async with bridge.caller as caller:
            assert (await caller.exchange()).status == 200
            await caller.directory()
        code, errors = await bridge.stop()
    assert code == 0
    messages = {json.loads(line).get("message") for line in errors.splitlines()}
    assert {Event.SERVING.value, Event.DELEGATION_ENDS_IN_A_DAY.value} <= messages
    assert names(tmp_path) == ["bridge.toml", "delegation", "signing.key"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def test_its_metrics_are_the_closed_list_and_hold_nothing_up(tmp_path: Path) -> None:
    port = free_port()
    async with running(configure(tmp_path, more=f'metrics = "127.0.0.1:{port}"')) as bridge:
        _silent, to_silent = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        page = (await reader.read()).decode()
        assert re.findall(r"^# TYPE (\S+)", page, re.MULTILINE) == NAMES
        assert "blindrelay_bridge_live_keys 1.0" in page
        assert (await bridge.stop(signal.SIGINT))[0] == 0
        to_silent.close()
        writer.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_drains(tmp_path: Path, provider: FakeProvider, number: int) -> None:
    release = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        await release.wait()
        await connection.send(b"3\r\nend\r\n0\r\n\r\n")

    provider.script = script
    async with running(configure(tmp_path, provider)) as bridge, bridge.caller as caller:
        request = await caller.seal()
        answer = parts(await caller.send(request), request)
        await anext(answer)
        stopping = asyncio.create_task(bridge.stop(number))
        await asyncio.sleep(0.3)
        release.set()
        assert b"".join([part.body async for part in answer]) == b"end"
        code, errors = await stopping
    assert code == 0
    assert "draining" in errors


async def test_credential_file_is_followed_and_sighup_reads_it_again(
    tmp_path: Path, provider: FakeProvider
) -> None:
    key, config = tmp_path / "openai.key", configure(tmp_path, provider)
    config.write_text(config.read_text() + 'credential = { file = "openai.key" }\n')

    def rotate(secret: str) -> None:
        key.write_text(secret)
        key.chmod(0o600)

    rotate("sk-first")
    async with running(config) as bridge, bridge.caller as caller:
        for secret, shown, hangs_up in (
            ("sk-first", "sk-first", False),
            ("sk-second", "sk-second", False),
            ("not one secret", "sk-second", True),
            ("sk-third", "sk-third", True),
        ):
            rotate(secret)
            if hangs_up:
                bridge.process.send_signal(signal.SIGHUP)
            assert (await caller.exchange()).status == 200
            assert provider.received[-1].named[b"authorization"] == f"Bearer {shown}".encode()
        code, errors = await bridge.stop()
    assert code == 0
    assert errors.count(Event.REREAD.value) == 2
    assert errors.count(Event.PROVIDER_FILES_UNUSABLE.value) == 1
    assert "secret" not in errors


async def test_sighup_notices_that_a_file_is_broken(tmp_path: Path, provider: FakeProvider) -> None:
    key, config = tmp_path / "openai.key", configure(tmp_path, provider)
    config.write_text(config.read_text() + 'credential = { file = "openai.key" }\n')
    key.write_text("sk-first")
    key.chmod(0o600)
    async with running(config) as bridge:
        key.write_text("")
        bridge.process.send_signal(signal.SIGHUP)
        code, errors = await bridge.stop()
    assert code == 0
    messages = [json.loads(line).get("message") for line in errors.splitlines()]
    assert Event.REREAD.value in messages
    assert Event.PROVIDER_FILES_UNUSABLE.value in messages, "without a call that needs it"


async def test_an_upload_costs_little_more_than_its_size(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(configure(tmp_path, provider)) as bridge, bridge.caller as caller:
        head = request_head("https://api.openai.com/v1/files", credential=CREDENTIAL_BROUGHT)
        await caller.exchange(head, b"x" * MIB)
        before = bridge.peak_memory()
        assert (await caller.exchange(head, b"x" * (16 * MIB))).status == 200
        grown = bridge.peak_memory() - before
    assert len(provider.received[1].body) == 16 * MIB
    assert grown < 30 * MIB, f"{grown / MIB:.1f} MiB"


async def test_a_long_answer_is_never_held(tmp_path: Path, provider: FakeProvider) -> None:
    async def script(connection: Connection, _: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 * MIB))
        for _number in range(64):
            await connection.send(b"x" * MIB)

    provider.script = script
    async with running(configure(tmp_path, provider)) as bridge, bridge.caller as caller:
        before = bridge.peak_memory()
        assert len((await caller.exchange()).body) == 64 * MIB
        grown = bridge.peak_memory() - before
    assert grown < 24 * MIB, f"{grown / MIB:.1f} MiB"


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ([], 2, "COMMAND"),
        (["serve"], 2, "--config"),
        (["serve", "--config", "missing.toml"], 2, "does not exist"),
        (["serve", "--config", "broken.toml"], 2, "not valid TOML"),
        (["serve", "--config", "bad_key.toml"], 2, "64 hexadecimal digits"),
        (["serve", "--config", "taken.toml"], 1, "port is taken"),
        (["serve", "--config", "no_metrics.toml"], 1, "cannot expose metrics"),
        (["serve", "--config", "delegated.toml"], 2, "the delegation does not exist"),
        (["serve", "--config", "no_ca.toml"], 2, "the CA certificate does not exist"),
        (["identity", "--key", "none.key"], 2, "does not exist"),
        (["identity"], 2, "--delegation is required"),
        (["identity", "--delegation", "bad.key"], 2, "not a delegation"),
        (["signing-key", "--out", "bad.key"], 2, "never replaces one"),
        (["signing-key", "--out", "missing/signing.key"], 2, "cannot be written"),
        (
            ["delegate", "--key", "none.key", "--signing-key", "x", "--days", "1", "--out", "y"],
            2,
            "does not exist",
        ),
        (["token", "list", "--tokens", "none"], 2, "does not exist"),
    ],
)
def test_a_first_days_mistake_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.toml").write_text("listen = ")
    (tmp_path / "bad.key").write_text("no key")
    (tmp_path / "bad.key").chmod(0o600)
    config = configure(tmp_path).read_text()
    (tmp_path / "bad_key.toml").write_text(config.replace("identity.key", "bad.key"))
    make_signing_key(tmp_path / "signing.key")
    delegated = config.replace('identity_key = "identity.key"', DELEGATED)
    (tmp_path / "delegated.toml").write_text(delegated)
    https = config.replace("http://", "https://") + 'ca = "none.pem"\n'
    (tmp_path / "no_ca.toml").write_text(https)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "taken.toml").write_text(config.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        (tmp_path / "no_metrics.toml").write_text(f'metrics = "127.0.0.1:{port}"\n{config}')
        assert main(arguments) == code
    shown = capfd.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if line.startswith("blindrelay-bridge:")]
    assert complaint in line
    assert shown.err == line + "\n", "nothing else is said of a bridge that never served"


def test_the_identity_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = load_or_make_identity(tmp_path / "identity.key")
    for make in ([], ["--make"]):
        assert main(["identity", "--key", str(tmp_path / "identity.key"), *make]) == 0
        assert capsys.readouterr().out == format_identity(identity.public_key) + "\n"


def test_an_identity_is_made_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = str(tmp_path / "new.key")
    assert main(["identity", "--key", new]) == 2
    assert main(["identity", "--key", new, "--make"]) == 0
    assert capsys.readouterr().out == format_identity(load_identity(tmp_path / "new.key").public_key) + "\n"


def test_a_token_is_issued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "issue", "relay", "--tokens", str(tmp_path / "tokens")]) == 0
    assert capsys.readouterr().out.startswith("brt_")
    assert names(tmp_path) == ["tokens"]
