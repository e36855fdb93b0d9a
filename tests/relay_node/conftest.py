"""Relays in this process, between a bridge that holds no key and a client that seals nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.relay_node import (
    AuditLog,
    Relay,
    RelayConfig,
    ReplicaConfig,
    contact,
    fetched_leases,
    lease_gate,
    replica,
)
from blindrelay.relay_node import ledger as relay_ledger
from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving import Address, ChannelTls, health, issue_token
from tests.certificates import Certificates
from tests.patience import PATIENCE, until
from tests.relay_node.behind_envoy import control_process, in_front
from tests.relay_node.fake_bridge import FakeBridge
from tests.relay_node.fake_ledger import FakeAccount, FakeLedger
from tests.relay_node.raw_client import Client, RelayProcess, relay_process

both = pytest.mark.parametrize("data_plane", ["grpc", "envoy"], indirect=True)
"""For what holds whatever carries the bytes."""


class KeptLog(AuditLog):
    """A log that keeps its lines, and reports when it is asked to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)

    async def keep_reporting(self) -> None:
        pass


@dataclass
class RunningRelay:
    """A relay in this process, with a client and its log."""

    relay: Relay
    address: Address
    client: Client
    log: KeptLog
    tokens: Path
    stop: Callable[[], Awaitable[None]]
    envoy: asyncio.subprocess.Process | None = None

    @property
    def lines(self) -> list[str]:
        """All lines of the log, after a report."""
        self.log.report()
        return self.log.lines

    def events(self) -> list[str]:
        """The events of the log, without the counts."""
        events = [json.loads(line)["event"] for line in self.lines]
        return [event for event in events if event != "exchanges"]

    def outcomes(self) -> dict[str, int]:
        """How many exchanges ended how. The log has no line about one."""
        self.log.report()
        return self.log.totals

    async def ended(self, count: int) -> dict[str, int]:
        """The outcomes, once so many exchanges have been counted. Envoy tells of them a moment later."""
        await until(lambda: sum(self.outcomes().values()) >= count)
        return self.outcomes()

    def another_client(self, name: str = "other") -> Client:
        """A client with a token of its own."""
        return Client(str(self.address), issue_token(self.tokens, name, datetime.now(UTC)))

    async def another_admitted(self, name: str = "other") -> Client:
        """The same, with what this relay admits to exchanges: Envoy wants a lease."""
        client = self.another_client(name)
        return client if self.envoy is None else await client.leased()


StartRelay = Callable[..., Awaitable[RunningRelay]]


@pytest.fixture(autouse=True)
def patient_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays in this process wait for peers on a busy machine. The tests of a limit set their own."""
    monkeypatch.setattr(replica, "SETTLING_SECONDS", PATIENCE)
    monkeypatch.setattr(replica, "FETCH_SECONDS", PATIENCE)
    monkeypatch.setattr(relay_ledger, "CALL_SECONDS", PATIENCE)
    monkeypatch.setattr(lease_gate, "KEYS_SECONDS", PATIENCE)
    monkeypatch.setattr(contact, "SILENCE_SECONDS", PATIENCE)
    monkeypatch.setattr(health, "REQUEST_SECONDS", PATIENCE)


@pytest.fixture(autouse=True)
def new_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fetch asks the ledger. The tests of those that share a lease set their own."""
    monkeypatch.setattr(fetched_leases, "SAME_SECONDS", 0.0)


@pytest.fixture
async def bridge() -> AsyncIterator[FakeBridge]:
    bridge = FakeBridge()
    await bridge.start()
    yield bridge
    await bridge.stop()


second_bridge = bridge


@pytest.fixture
def data_plane(request: pytest.FixtureRequest) -> str:
    """What carries the bytes: "grpc", the relay itself, or "envoy"."""
    return getattr(request, "param", "grpc")


@pytest.fixture
async def start_relay(tmp_path: Path, data_plane: str) -> AsyncIterator[StartRelay]:
    """Starts relays in front of the given bridges. Keyword arguments change the RelayConfig."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*replicas: ReplicaConfig, **changes: Any) -> RunningRelay:
            tokens = tmp_path / "tokens"
            token = issue_token(tokens, f"client-{os.urandom(4).hex()}", datetime.now(UTC))
            known = None if changes.get("ledger") else tokens
            config = replace(RelayConfig(Address("127.0.0.1", 0), known, replicas), **changes)
            log = KeptLog()
            behind = data_plane == "envoy"
            relay = control_process(config, log, tmp_path) if behind else Relay(config, log)
            running = await stack.enter_async_context(contextlib.AsyncExitStack())
            address = await running.enter_async_context(relay.running())
            envoy = None
            if isinstance(relay, ControlProcess):
                envoy = await running.enter_async_context(in_front(relay, address))
            client = Client(str(address), token)
            stack.push_async_callback(client.channel.close)
            if behind and known:
                client.lease = (await client.fetch()).lease
            return RunningRelay(relay, address, client, log, tokens, running.aclose, envoy)

        yield start


@pytest.fixture
async def relay(bridge: FakeBridge, start_relay: StartRelay) -> RunningRelay:
    return await start_relay(bridge.config)


@pytest.fixture
async def ledger() -> AsyncIterator[FakeLedger]:
    ledger = FakeLedger()
    await ledger.start()
    yield ledger
    await ledger.stop()


@dataclass
class Billed:
    """A relay with a ledger, and an account there. `client` has its token, `leased` a lease."""

    relay: RunningRelay
    ledger: FakeLedger
    account: FakeAccount
    client: Client
    leased: Client

    async def another(self, **options: Any) -> Client:
        """A leased client of another account."""
        client = self.relay.another_client(f"other-{os.urandom(4).hex()}")
        self.ledger.add(client.token, **options)
        return await client.leased()


StartBilled = Callable[..., Awaitable[Billed]]


@pytest.fixture
def start_billed(bridge: FakeBridge, ledger: FakeLedger, start_relay: StartRelay) -> StartBilled:
    """Starts a relay with a ledger. Keyword arguments are those of the account."""

    async def start(**options: Any) -> Billed:
        relay = await start_relay(bridge.pinned, ledger=ledger.config)
        account = ledger.add(relay.client.token, **options)
        return Billed(relay, ledger, account, relay.client, await relay.client.leased())

    return start


@pytest.fixture
async def billed(start_billed: StartBilled) -> Billed:
    return await start_billed()


StartProcess = Callable[..., Awaitable[RelayProcess]]


@pytest.fixture
async def start_process(tmp_path: Path, bridge: FakeBridge) -> AsyncIterator[StartProcess]:
    """Starts relay processes in front of `bridge`, with the options of relay_process()."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*options: str, **more: Any) -> RelayProcess:
            return await stack.enter_async_context(relay_process(tmp_path, bridge.port, *options, **more))

        yield start


RelayTls = tuple[str, grpc.ChannelCredentials]


@pytest.fixture
def relay_tls(tmp_path: Path) -> RelayTls:
    """The table with a relay's certificate, and the credentials of a client that trusts it."""
    files = Certificates(tmp_path / "tls")
    table = f'[tls]\ncertificate = "{files.chain}"\nkey = "{files.key}"\n'
    return table, ChannelTls(files.ca).credentials()
