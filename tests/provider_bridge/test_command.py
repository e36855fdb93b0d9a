"""`blindrelay-bridge serve` as a process: what it prints, how it ends, and how much memory it takes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge import Event, load_identity
from blindrelay.trust import format_identity, parse_identity

from .replica import DELEGATED, DelegatedReplica, configure
from .scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, stepwise
from .sealed_caller import SealedCaller, parts
from .test_log_and_metrics import NAMES
from .upstream_call import free_port


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
        _, errors = await asyncio.wait_for(self.process.communicate(), 20)
        assert self.process.returncode == 0
        return errors.decode()


@asynccontextmanager
async def running(config: Path, *options: str) -> AsyncIterator[Process]:
    command = ("-m", "blindrelay.provider_bridge", "serve", "--config", str(config), *options)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
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
