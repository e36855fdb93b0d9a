"""A ledger as a process of its own, and its commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindrelay.ledger.config import BridgeConfig
from blindrelay.testbed.ports import free_port
from blindrelay.trust import format_identity
from tests.patience import PATIENCE

LEDGER = (sys.executable, "-m", "blindrelay.ledger")

CONFIG = """
listen = "127.0.0.1:{listen}"
tokens = "relay-tokens"
books = "ledger.db"
admin = "127.0.0.1:{admin}"
{options}
[[bridge]]
address = "{bridge}"
identity = "{identity}"
"""


def write_config(folder: Path, bridge: BridgeConfig, options: str = "") -> Path:
    """A ledger.toml with free ports."""
    path = folder / "ledger.toml"
    path.write_text(
        CONFIG.format(
            listen=free_port(),
            admin=free_port(),
            bridge=bridge.address,
            identity=format_identity(bridge.identities[0]),
            options=options,
        )
    )
    return path


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def fields(self) -> dict[str, Any]:
        """What it printed with --json. Raises if it failed."""
        assert self.code == 0, self.err
        fields: dict[str, Any] = json.loads(self.out)
        return fields


async def run(*arguments: str, config: Path | None = None, **environment: str) -> Done:
    """Runs a command line."""
    given = () if config is None else ("--config", str(config), "--json")
    process = await asyncio.create_subprocess_exec(
        *(*LEDGER, *arguments, *given),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return Done(process.returncode or 0, out.decode(), err.decode())


@dataclass
class LedgerProcess:
    """A ledger that listens. `said` is what it announced."""

    popen: asyncio.subprocess.Process
    said: dict[str, str]

    async def kill(self) -> None:
        self.popen.kill()
        await self.popen.wait()

    async def stop(self) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.popen.wait(), PATIENCE)


@asynccontextmanager
async def ledger_process(config: Path) -> AsyncIterator[LedgerProcess]:
    """Serves while the block runs."""
    with (config.parent / "ledger.log").open("ab") as log:
        popen = await asyncio.create_subprocess_exec(
            *(*LEDGER, "serve", "--config", str(config), "--json"), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    assert popen.stdout is not None
    line = await asyncio.wait_for(popen.stdout.readline(), PATIENCE)
    assert line, (config.parent / "ledger.log").read_text()
    process = LedgerProcess(popen, json.loads(line))
    try:
        yield process
    finally:
        if popen.returncode is None:
            await process.kill()


async def scrape(port: int) -> dict[str, float]:
    """The samples that a ledger shows to Prometheus."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    page = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    lines = [line.rpartition(" ") for line in page.splitlines() if not line.startswith("#")]
    return {name.removeprefix("blindrelay_ledger_"): float(value) for name, _, value in lines}
