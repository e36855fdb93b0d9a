"""Relays as processes of their own, in the sandbox if the kernel has one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blindrelay.serving import issue_token
from blindrelay.serving.landlock import landlock_version
from blindrelay.testbed.unprivileged import launcher
from tests.relay_node.raw_client import Client

RELAY = (*launcher(), sys.executable, "-m", "blindrelay.relay_node")
SANDBOX = f"sandbox = {str(landlock_version() > 0).lower()}"

CONFIG = """
listen = "127.0.0.1:{port}"
tokens = "tokens"
{options}
[[replica]]
address = "127.0.0.1:{bridge}"
"""


class RelayProcess:
    """A relay that listens, perhaps with workers. `token` is a client's."""

    def __init__(self, popen: asyncio.subprocess.Process, address: str, token: str, log: Path) -> None:
        self.popen = popen
        self.address = address
        self.token = token
        self.client = Client(address, token)
        self._log = log

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has written to stderr so far."""
        return [json.loads(line) for line in self._log.read_text().split("\n")[:-1]]

    def count(self, event: str) -> int:
        """How many of its lines are about this event."""
        return sum(line["event"] == event for line in self.lines)

    async def end(self) -> int:
        """Stops it. Returns the exit code."""
        self.popen.terminate()
        return await self.popen.wait()

    def workers(self) -> list[int]:
        """The process ids of the worker processes that live."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


@contextlib.asynccontextmanager
async def relay_process(
    folder: Path, bridge: int, options: str = "", *, tls: str = "", workers: int = 1, **env: str
) -> AsyncIterator[RelayProcess]:
    """A relay in front of a bridge on this port. `options` are lines of relay.toml, which is in `folder`."""
    token = issue_token(folder / "tokens", "client", datetime.now(UTC))
    config, log = folder / "relay.toml", folder / "stderr"
    options = f"{SANDBOX}\n{options or 'drain_seconds = 20'}"
    config.write_text(CONFIG.format(port=0, bridge=bridge, options=options) + tls)
    arguments = ["serve", "--config", str(config), "--json"]
    if workers > 1:
        arguments += ["--workers", str(workers)]
    with log.open("w") as stderr:
        popen = await asyncio.create_subprocess_exec(
            *(*RELAY, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=os.environ | env,
            process_group=0,
        )
    assert popen.stdout is not None
    line = await popen.stdout.readline()
    assert line, log.read_text()
    relay = RelayProcess(popen, json.loads(line)["listening"], token, log)
    try:
        yield relay
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        await popen.wait()
        await relay.client.channel.close()


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended may remain as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
