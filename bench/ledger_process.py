"""What an exchange costs a whole ledger process: its two lines from a relay, and its receipt from a bridge.

The relay and the bridge are doubles in this process. The receipts are signed before anything is measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc

from bench.ledger import ACCOUNTS, BATCH, Cost, batches, new_lease, table
from bench.probes import cpu_seconds
from blindrelay.ledger.books import Books
from blindrelay.serving import authorization, issue_token
from blindrelay.testbed.billing_bridge import BillingBridge
from blindrelay.testbed.ports import free_port
from blindrelay.trust import format_identity, sign_receipt
from blindrelay.v1.ledger_pb2 import (
    EndLine,
    ReportHello,
    ReportLine,
    ReportLines,
    ReportRequest,
    StartLine,
)
from blindrelay.v1.ledger_pb2_grpc import LedgerServiceStub
from blindrelay.v1.receipts_pb2 import BASIS_METERED, Receipt, SignedReceipt
from blindrelay.v1.settlement_pb2 import SettleResponse, SettleSigner
from blindrelay.v1.settlement_pb2_grpc import (
    SettlementServiceServicer,
    add_SettlementServiceServicer_to_server,
)

TOGETHER: Final = (1, 20)
"""Receipts of one message: on a quiet bridge and on a busy one."""

UNITS: Final = 20

PATIENCE: Final = 300.0
"""Seconds for each step."""

_NODE: Final = os.urandom(16)
_CONFIG: Final = """
listen = "127.0.0.1:0"
tokens = "relays"
books = "ledger.db"
admin = "127.0.0.1:{admin}"

[[bridge]]
address = "127.0.0.1:{port}"
identity = "{identity}"
"""


class _Bridge(SettlementServiceServicer):
    """Sends receipts when it is told to, some in each message."""

    def __init__(self, exchanges: int, together: int) -> None:
        self._may_send, self._settled = asyncio.Event(), asyncio.Event()
        self._together = together
        self._bills = BillingBridge(now=int(time.time()) // 10 * 10)
        self.identity = self._bills.identity.public_key
        self.envelopes = [self._bills.envelope(number + 1) for number in range(exchanges)]
        self._receipts = [self._receipt(envelope) for envelope in self.envelopes]

    def _receipt(self, envelope: bytes) -> SignedReceipt:
        receipt = Receipt(
            version=1,
            identity=self.identity,
            envelope_hash=hashlib.sha256(envelope).digest(),
            units=UNITS,
            basis=BASIS_METERED,
            price_table_hash=bytes(32),
            statement_hash=bytes(32),
            replica_id=bytes(16),
            ended_at=self._bills.now,
        )
        return sign_receipt(receipt, self._bills.signer)

    async def Settle(self, requests: Any, _: object) -> AsyncIterator[SettleResponse]:  # noqa: N802
        await self._may_send.wait()
        signed = self._bills.delegation
        signer = SettleSigner(delegation=signed.delegation, delegation_signature=signed.signature)
        yield SettleResponse(signer=signer)
        waiting = asyncio.create_task(self._acknowledged(requests))
        for number in range(0, len(self._receipts), self._together):
            first, *more = self._receipts[number : number + self._together]
            sequence = number + 1 + len(more)
            yield SettleResponse(sequence=sequence, receipt=first, more_receipts=more)
        await waiting

    async def settle(self) -> None:
        """Returns when the last receipt is acknowledged."""
        self._may_send.set()
        await self._settled.wait()

    async def _acknowledged(self, requests: Any) -> None:
        async for request in requests:
            if request.sequence == len(self._receipts):
                self._settled.set()


class _Relay:
    """Reports lines in batches."""

    def __init__(self, address: str, token: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._stub: Any = LedgerServiceStub(self._channel)
        self._metadata = (authorization(token),)

    async def report(self, lines: list[ReportLine]) -> None:
        """Returns when the last line is acknowledged."""
        call = self._stub.Report(metadata=self._metadata)
        await call.write(ReportRequest(hello=ReportHello(node=_NODE)))
        before: int = (await call.read()).acknowledged
        for number, batch in enumerate(batches(lines)):
            first = before + number * BATCH + 1
            await call.write(ReportRequest(lines=ReportLines(first_sequence=first, lines=batch)))
        while (await call.read()).acknowledged < before + len(lines):
            pass
        call.cancel()

    async def close(self) -> None:
        await self._channel.close()


def ledger_process(exchanges: int) -> str:
    """A table for each of TOGETHER."""
    tables = (
        f"Receipts of one message: {together}\n\n{table(asyncio.run(_costs(exchanges, together)))}"
        for together in TOGETHER
    )
    return "\n\n".join(tables)


async def _costs(exchanges: int, together: int) -> list[Cost]:
    bridge, server = _Bridge(exchanges, together), grpc.aio.server()
    add_SettlementServiceServicer_to_server(bridge, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        token = issue_token(folder / "relays", "bench", datetime.now(UTC))
        starts, ends = _lines(folder / "ledger.db", bridge.envelopes)
        (folder / "ledger.toml").write_text(
            _CONFIG.format(admin=free_port(), port=port, identity=format_identity(bridge.identity))
        )
        async with _serving(folder / "ledger.toml") as (pid, address):
            relay = _Relay(address, token)
            costs = [
                await _measured("start lines", pid, exchanges, relay.report(starts)),
                await _measured("end lines", pid, exchanges, relay.report(ends)),
                await _measured("receipts", pid, exchanges, bridge.settle()),
            ]
            await relay.close()
        with Books(folder / "ledger.db") as books:
            _check(books, exchanges)
    await server.stop(None)
    total = Cost("together", exchanges, sum(each.cpu for each in costs), sum(each.wall for each in costs))
    return [*costs, total]


def _lines(file: Path, envelopes: list[bytes]) -> tuple[list[ReportLine], list[ReportLine]]:
    with Books(file) as books:
        leases = [new_lease(books, number, _NODE, int(time.time())).id for number in range(ACCOUNTS)]
    starts = [
        ReportLine(start=StartLine(lease_id=leases[number % ACCOUNTS], envelope=each, deadline_seconds=600))
        for number, each in enumerate(envelopes)
    ]
    ends = [
        ReportLine(
            end=EndLine(start_sequence=number + 1, outcome="ok", request_bytes=5_000, response_bytes=20_000)
        )
        for number in range(len(envelopes))
    ]
    return starts, ends


async def _measured(what: str, pid: int, exchanges: int, work: Awaitable[None]) -> Cost:
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        await work
    return Cost(what, exchanges, cpu_seconds(pid) - cpu, time.perf_counter() - wall)


@asynccontextmanager
async def _serving(config: Path) -> AsyncIterator[tuple[int, str]]:
    """A ledger in a process of its own: its id, and its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "blindrelay.ledger", "serve", "--config", str(config), "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        if process.stdout is None or not (said := await process.stdout.readline()):
            raise RuntimeError("the ledger did not start")
        yield process.pid, json.loads(said)["listening"]
    finally:
        process.terminate()
        await process.wait()


def _check(books: Books, exchanges: int) -> None:
    charged = sum(account.charged for account in books.accounts())
    if not books.check().balanced or charged != exchanges * UNITS:
        raise RuntimeError(f"the books are wrong: {charged} units charged")
