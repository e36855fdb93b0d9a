"""A relay whose bytes Envoy carries, in this process but for Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import httpx

from blindrelay.relay_node import AuditLog, RelayConfig
from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving import Address
from blindrelay.testbed.envoy_relay import envoy_command, running_envoy
from blindrelay.testbed.ports import free_port
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, until
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.raw_client import Client

if TYPE_CHECKING:
    from tests.relay_node.conftest import RunningRelay


def control_process(config: RelayConfig, log: AuditLog, folder: Path) -> ControlProcess:
    """The process for an Envoy on a free port."""
    listen = Address("127.0.0.1", free_port())
    return ControlProcess(replace(config, listen=listen), folder / "relay.toml", log)


@asynccontextmanager
async def in_front(process: ControlProcess, address: Address) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs Envoy while the block runs, which begins when Envoy knows every bridge's keys."""
    await until(lambda: process.bridges_known)
    async with running_envoy(envoy_command(process.bootstrap), address) as envoy:
        yield envoy


def published(relay: RunningRelay, name: str) -> str:
    """One of the files that Envoy watches."""
    assert isinstance(relay.relay, ControlProcess)
    return (relay.relay.bootstrap.parent / f"{name}.json").read_text()


async def loaded(relay: RunningRelay, text: str) -> None:
    """Waits until Envoy has loaded a file with this text, which is published or will be."""
    assert isinstance(relay.relay, ControlProcess)
    admin = httpx.AsyncHTTPTransport(uds=str(relay.relay.bootstrap.parent / "admin.sock"))
    async with httpx.AsyncClient(transport=admin, timeout=PATIENCE) as client:

        async def known() -> bool:
            return text in (await client.get("http://envoy/config_dump")).text

        await eventually(known)


async def outcome(client: Client, bridge: FakeBridge) -> OuterStatus | None:
    """The status with which an exchange is refused, or None."""
    try:
        await client.exchange(bridge.envelope())
    except grpc.aio.AioRpcError as error:
        return OuterStatus.of(error.code(), error.details())
    return None


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until a condition holds that has to be asked for, for at most PATIENCE seconds.

    Asking must not change what the test is about: see loaded() for what Envoy does not know yet.
    """
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - the conditions have no events
            await asyncio.sleep(0.05)
