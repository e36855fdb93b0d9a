"""A relay whose bytes Envoy carries, in this process but for Envoy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from blindrelay.relay_node import AuditLog, RelayConfig
from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving import Address
from blindrelay.testbed.envoy_relay import envoy_program, running_envoy
from tests.relay_node.fake_bridge import until


def control_process(config: RelayConfig, log: AuditLog, folder: Path) -> ControlProcess:
    """The process for an Envoy on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = Address("127.0.0.1", free.getsockname()[1])
    return ControlProcess(replace(config, listen=listen), folder / "relay.toml", log)


@asynccontextmanager
async def in_front(process: ControlProcess, address: Address) -> AsyncIterator[None]:
    """Runs Envoy while the block runs, which begins when Envoy knows every bridge's keys."""
    await until(lambda: process.bridges_known)
    async with running_envoy(envoy_program(), process.bootstrap, address):
        yield
