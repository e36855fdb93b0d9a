"""A ledger in this process, between a bridge that only settles and a relay that only reports."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from blindrelay.admin.v1 import admin_pb2
from blindrelay.ledger.admin_channel import AdminStub, admin_stub
from blindrelay.ledger.audit_log import AuditLog
from blindrelay.ledger.config import LedgerConfig
from blindrelay.ledger.server import Ledger
from blindrelay.serving import Address, issue_token
from blindrelay.testbed.ports import free_port
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.node import Node


class KeptLog(AuditLog):
    """A log that keeps its lines, and reports when it is asked to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append)

    async def keep_reporting(self) -> None:
        pass

    def said(self) -> str:
        """All lines, after a report."""
        self.report()
        return "\n".join(self.lines)


@dataclass
class RunningLedger:
    """A ledger that serves, and how an operator and a relay reach it."""

    config: LedgerConfig
    address: str
    admin: AdminStub
    log: KeptLog
    relay_token: str
    page: str | None

    def node(self) -> Node:
        return Node(self.address, self.relay_token)

    async def account(self, name: str = "ann", units: int = 0) -> str:
        """Makes an account, with units if any, and returns a token of it."""
        await self.admin.AddAccount(admin_pb2.AddAccountRequest(name=name))
        if units:
            await self.credit(units, name)
        return (await self.admin.IssueToken(admin_pb2.IssueTokenRequest(account=name))).token

    async def credit(self, units: int, name: str = "ann", reference: str = "order 1") -> None:
        await self.admin.AddCredit(admin_pb2.AddCreditRequest(account=name, units=units, reference=reference))

    async def limit(self, *removed: str, **limits: Any) -> admin_pb2.Account:
        """Sets limits of Ann's, and removes others."""
        request = admin_pb2.SetLimitsRequest(
            account="ann", limits=admin_pb2.Limits(**limits), mask=FieldMask(paths=[*removed, *limits])
        )
        return (await self.admin.SetLimits(request)).account

    async def admin_account(self, name: str = "ann") -> admin_pb2.GetAccountResponse:
        """The account with its tokens."""
        return await self.admin.GetAccount(admin_pb2.GetAccountRequest(account=name))

    async def revoke(self, token: str) -> None:
        await self.admin.RevokeToken(admin_pb2.RevokeTokenRequest(id=token))

    async def standing(self, name: str = "ann") -> admin_pb2.Account:
        return (await self.admin.GetAccount(admin_pb2.GetAccountRequest(account=name))).account


StartLedger = Callable[..., Awaitable[RunningLedger]]


@pytest.fixture
async def bridge() -> AsyncIterator[FakeBridge]:
    bridge = FakeBridge()
    await bridge.start()
    yield bridge
    await bridge.stop()


@pytest.fixture
def config(bridge: FakeBridge, tmp_path: Path) -> LedgerConfig:
    return LedgerConfig(
        listen=Address("127.0.0.1", 0),
        tokens=tmp_path / "relay-tokens",
        books=tmp_path / "ledger.db",
        admin=Address("127.0.0.1", free_port()),
        admin_token=tmp_path / "admin-token",
        bridges=(bridge.config,),
    )


@pytest.fixture
def relay_token(config: LedgerConfig) -> str:
    return issue_token(config.tokens, "relay", datetime.now(UTC))


@pytest.fixture
async def start_ledger(config: LedgerConfig, relay_token: str) -> AsyncIterator[StartLedger]:
    """Starts ledgers. Keyword arguments change the LedgerConfig. `clock` is Unix seconds."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(clock: Any = None, **changes: Any) -> RunningLedger:
            changed, log = replace(config, **changes), KeptLog()
            ledger = Ledger(changed, log) if clock is None else Ledger(changed, log, clock)
            listening = await stack.enter_async_context(ledger.running())
            stub = await stack.enter_async_context(admin_stub(changed))
            return RunningLedger(changed, str(listening.relays), stub, log, relay_token, listening.page)

        yield start


@pytest.fixture
async def ledger(start_ledger: StartLedger) -> RunningLedger:
    return await start_ledger()


@pytest.fixture
async def node(ledger: RunningLedger) -> AsyncIterator[Node]:
    async with ledger.node() as node:
        await node.connect()
        yield node
