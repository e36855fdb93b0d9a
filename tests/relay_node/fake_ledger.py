"""A small ledger in this process: it gives leases, takes lines, and settles an exchange when it ends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from blindrelay.relay_node.config import PeerConfig
from blindrelay.serving import Address, server_options
from blindrelay.serving.leases import base64url, sign_lease
from blindrelay.testbed.ports import free_port
from blindrelay.v1.accounts_pb2 import (
    GetPriceTableRequest,
    GetPriceTableResponse,
    GetStatementRequest,
    GetStatementResponse,
)
from blindrelay.v1.grpc_profile import TOKEN_DIGEST_KEY
from blindrelay.v1.ledger_pb2 import (
    Allowance,
    GetLeaseRequest,
    GetLeaseResponse,
    Limit,
    ReportLine,
    ReportRequest,
    ReportResponse,
)
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import SignedPriceTable


@dataclass
class FakeAccount:
    """An account: how many exchanges may start now, why no more may, and what its leases say."""

    name: str = field(default_factory=lambda: base64url(os.urandom(12)))
    free: int = 1_000
    limit: Limit = field(default_factory=lambda: Limit(status="limit_units", retry_after_seconds=7))
    settles: bool = True
    """Whether the end of an exchange frees what its start took."""
    refuses: Limit | None = None
    """Why there is no lease."""
    claims: dict[str, Any] = field(default_factory=dict)
    seconds: int = 300


class FakeLedger:
    """A gRPC server. `lines` are those that it has taken, by node and number."""

    def __init__(self) -> None:
        self.keys = [os.urandom(32)]
        self.accounts: dict[bytes, FakeAccount] = {}
        self.lines: dict[tuple[bytes, int], ReportLine] = {}
        self.repeated = 0
        self.hellos = 0
        self.leases: dict[str, FakeAccount] = {}
        self.revoked: list[str] = []
        self.metadata: list[dict[str, Any]] = []
        self.acknowledges = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.port = free_port()
        self._streams: dict[bytes, Any] = {}
        self._writing = asyncio.Lock()

    def add(self, token: str, **options: Any) -> FakeAccount:
        """An account for this token."""
        account = FakeAccount(**options)
        self.accounts[hashlib.sha256(token.encode()).digest()] = account
        return account

    @property
    def config(self) -> PeerConfig:
        return PeerConfig(Address("127.0.0.1", self.port))

    def starts(self) -> list[ReportLine]:
        return [line for line in self.lines.values() if line.HasField("start")]

    def ends(self) -> list[ReportLine]:
        return [line for line in self.lines.values() if line.HasField("end")]

    async def start(self) -> None:
        """Listens, always on the same port."""
        self._server = grpc.aio.server(options=server_options(1_000))
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetLease": grpc.unary_unary_rpc_method_handler(
                self._get_lease, GetLeaseRequest.FromString, GetLeaseResponse.SerializeToString
            ),
            "Report": grpc.stream_stream_rpc_method_handler(
                self._report, ReportRequest.FromString, ReportResponse.SerializeToString
            ),
        }
        about_accounts: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "GetPriceTable": grpc.unary_unary_rpc_method_handler(
                self._price_table, GetPriceTableRequest.FromString, GetPriceTableResponse.SerializeToString
            ),
            "GetStatement": grpc.unary_stream_rpc_method_handler(
                self._statement, GetStatementRequest.FromString, GetStatementResponse.SerializeToString
            ),
        }
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("blindrelay.v1.LedgerService", handlers),
                grpc.method_handlers_generic_handler("blindrelay.v1.AccountService", about_accounts),
            )
        )
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        self._beating = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        self._beating.cancel()
        await self._server.stop(None)
        self._streams.clear()

    async def _beat(self) -> None:
        """A relay to which its ledger says nothing for ten seconds starts no exchange."""
        while True:
            await asyncio.sleep(1)
            with suppress(grpc.aio.BaseError, asyncio.InvalidStateError):
                await self.tell()

    async def tell(self, **news: Any) -> None:
        """Sends a message on every stream."""
        for context in list(self._streams.values()):
            await self._write(context, **news)

    async def _write(self, context: Any, **news: Any) -> None:
        """One message at a time: gRPC fails a write that begins during another one."""
        async with self._writing:
            await context.write(ReportResponse(**{"sent_at": _now(), **news}))

    async def free(self, account: FakeAccount, exchanges: int) -> None:
        """Lets the account start more."""
        account.free += exchanges
        for node in self._streams:
            await self.tell(acknowledged=self._taken(node), allowances=[self._allowance(account, node)])

    async def revoke(self, lease_id: str) -> None:
        self.revoked.append(lease_id)
        await self.tell(revoked_leases=[lease_id])

    def lease(self, account: FakeAccount, node: bytes, **claims: Any) -> str:
        """A lease for this account. `claims` replace its own."""
        now = int(time.time())
        lease_id = base64url(os.urandom(12))
        self.leases[lease_id] = account
        times = {"iat": now, "exp": now + account.seconds}
        names = {"sub": account.name, "jti": lease_id, "aud": base64url(node)}
        limits = {"concurrent": 100, "units": 1_000_000}
        return sign_lease({**names, **times, **limits, **account.claims, **claims}, self.keys[0])

    async def _get_lease(self, request: GetLeaseRequest, context: Any) -> GetLeaseResponse:
        self.metadata.append(dict(context.invocation_metadata()))
        await self.answers.wait()
        account = self.accounts.get(request.token_digest)
        if account is None:
            return GetLeaseResponse(limit=Limit(status="token_unknown"))
        if account.refuses is not None:
            return GetLeaseResponse(limit=account.refuses)
        return GetLeaseResponse(
            lease=self.lease(account, request.node),
            lease_seconds=account.seconds,
            allowance=self._allowance(account, request.node),
        )

    async def _report(self, requests: AsyncIterator[ReportRequest], context: Any) -> None:
        node = (await anext(requests)).hello.node
        self._streams[node] = context
        self.hellos += 1
        await self._write(
            context,
            acknowledged=self._taken(node),
            allowances=[self._allowance(account, node) for account in self.accounts.values()],
            lease_keys=self.keys,
            revoked_leases=self.revoked,
        )
        async for request in requests:
            changed = [
                account
                for number, line in enumerate(request.lines.lines, request.lines.first_sequence)
                if (account := self._take(node, number, line)) is not None
            ]
            if self.acknowledges:
                allowances = [self._allowance(account, node) for account in changed]
                await self._write(context, acknowledged=self._taken(node), allowances=allowances)

    def _take(self, node: bytes, number: int, line: ReportLine) -> FakeAccount | None:
        if (node, number) in self.lines:
            self.repeated += 1
            return None
        self.lines[node, number] = line
        if line.HasField("start"):
            account = self.leases[line.start.lease_id]
            account.free -= 1
            return account
        account = self.leases[self.lines[node, line.end.start_sequence].start.lease_id]
        account.free += account.settles
        return account

    def _taken(self, node: bytes) -> int:
        return max((number for of, number in self.lines if of == node), default=0)

    def _allowance(self, account: FakeAccount, node: bytes) -> Allowance:
        free = max(account.free, 0)
        return Allowance(
            account=account.name,
            sequence=self._taken(node),
            exchanges=free,
            limit=None if free else account.limit,
        )

    async def _account(self, context: Any) -> FakeAccount:
        self.metadata.append(dict(context.invocation_metadata()))
        account = self.accounts.get(self.metadata[-1].get(TOKEN_DIGEST_KEY, b""))
        if account is None:
            await context.abort(*OuterStatus.UNAUTHENTICATED.value)
        assert account is not None
        return account

    async def _price_table(self, request: GetPriceTableRequest, context: Any) -> GetPriceTableResponse:
        await self._account(context)
        return GetPriceTableResponse(price_table=SignedPriceTable(table=request.price_table_hash))

    async def _statement(
        self, request: GetStatementRequest, context: Any
    ) -> AsyncIterator[GetStatementResponse]:
        account = await self._account(context)
        for balance in range(3):
            await asyncio.sleep(0)
            yield GetStatementResponse(balance=balance, charged=account.free)


def _now() -> int:
    """Milliseconds of a clock that only grows."""
    return int(1_000 * time.monotonic())
