"""A relay process as a ledger sees it: it fetches leases, and reports lines on one stream."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from contextlib import suppress
from typing import Any

import grpc

from blindrelay.serving import authorization
from blindrelay.serving.leases import Lease, LeaseReader
from blindrelay.v1.accounts_pb2 import (
    GetPriceTableRequest,
    GetPriceTableResponse,
    GetStatementRequest,
    GetStatementResponse,
)
from blindrelay.v1.grpc_profile import TOKEN_DIGEST_KEY
from blindrelay.v1.ledger_pb2 import (
    Allowance,
    EndLine,
    GetLeaseRequest,
    GetLeaseResponse,
    ReportHello,
    ReportLine,
    ReportLines,
    ReportRequest,
    ReportResponse,
    StartLine,
)
from tests.patience import PATIENCE


class Node:
    """Use it as a context manager. `token` is the relay's."""

    def __init__(self, address: str, token: str) -> None:
        self._metadata = (authorization(token),)
        self._channel = grpc.aio.insecure_channel(address)
        self.reader = LeaseReader(time.time)
        self.name = self.reader.node
        self.sequence = 0
        self.acknowledged = 0
        self.messages = 0
        self.keys: tuple[bytes, ...] = ()
        self.allowances: dict[str, Allowance] = {}
        self.revoked: set[str] = set()
        self.ended = False
        self._call: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()
        await self._channel.close()

    async def lease(self, token: str) -> GetLeaseResponse:
        """What the ledger answers for a customer's token. Raises AioRpcError."""
        ask: Any = self._channel.unary_unary(
            "/blindrelay.v1.LedgerService/GetLease",
            GetLeaseRequest.SerializeToString,
            GetLeaseResponse.FromString,
        )
        request = GetLeaseRequest(token_digest=digest(token), node=self.name)
        response: GetLeaseResponse = await ask(request, metadata=self._metadata, timeout=PATIENCE)
        if response.lease:
            self.allowances[response.allowance.account] = response.allowance
        return response

    async def good_lease(self, token: str) -> Lease:
        """A lease that is good here."""
        response = await self.lease(token)
        lease = self.reader.read(response.lease)
        assert lease is not None, response
        return lease

    async def connect(self) -> None:
        """Begins the stream, and waits for the first message."""
        report: Any = self._channel.stream_stream(
            "/blindrelay.v1.LedgerService/Report",
            ReportRequest.SerializeToString,
            ReportResponse.FromString,
        )
        self.ended = False
        before = self.messages
        self._call = report(metadata=self._metadata)
        self._reading = asyncio.create_task(self._read(self._call))
        with suppress(grpc.aio.AioRpcError):  # the ledger may have refused the stream already
            await self._call.write(ReportRequest(hello=ReportHello(node=self.name)))
        await self.until(lambda: self.messages > before or self.ended)

    async def disconnect(self) -> None:
        if self._reading is not None:
            self._call.cancel()
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def start(self, lease: Lease | str, envelope: bytes, deadline_seconds: int = 60) -> int:
        """Reports a start. Returns the line's number, when it is in the books."""
        name = lease if isinstance(lease, str) else lease.lease_id
        line = StartLine(lease_id=name, envelope=envelope, deadline_seconds=deadline_seconds)
        return await self._line(ReportLine(start=line))

    async def end(self, start: int, outcome: str = "ok", size: int = 1_000) -> int:
        """Reports an end. Returns the line's number, when it is in the books."""
        line = EndLine(start_sequence=start, outcome=outcome, request_bytes=size, response_bytes=size)
        return await self._line(ReportLine(end=line))

    async def write(self, first_sequence: int, *lines: ReportLine) -> None:
        await self._call.write(ReportRequest(lines=ReportLines(first_sequence=first_sequence, lines=lines)))

    async def until(self, condition: Any) -> None:
        """Waits for something that a message brings."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(condition)

    async def statement(self, token: str, month: str = "") -> list[GetStatementResponse]:
        """What a customer is told, passed through. Raises AioRpcError."""
        ask: Any = self._channel.unary_stream(
            "/blindrelay.v1.AccountService/GetStatement",
            GetStatementRequest.SerializeToString,
            GetStatementResponse.FromString,
        )
        metadata = (*self._metadata, (TOKEN_DIGEST_KEY, digest(token)))
        return [
            page async for page in ask(GetStatementRequest(month=month), metadata=metadata, timeout=PATIENCE)
        ]

    async def price_table(self, token: str, table_hash: bytes) -> GetPriceTableResponse:
        ask: Any = self._channel.unary_unary(
            "/blindrelay.v1.AccountService/GetPriceTable",
            GetPriceTableRequest.SerializeToString,
            GetPriceTableResponse.FromString,
        )
        metadata = (*self._metadata, (TOKEN_DIGEST_KEY, digest(token)))
        response: GetPriceTableResponse = await ask(
            GetPriceTableRequest(price_table_hash=table_hash), metadata=metadata, timeout=PATIENCE
        )
        return response

    async def _line(self, line: ReportLine) -> int:
        self.sequence = number = self.sequence + 1
        await self.write(number, line)
        await self.until(lambda: self.acknowledged >= number)
        return number

    async def _read(self, call: Any) -> None:
        try:
            async for response in call:
                self._take(response)
                await self._tell()
        except grpc.aio.AioRpcError:
            pass
        finally:
            self.ended = True
            await asyncio.shield(self._tell())

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _take(self, response: ReportResponse) -> None:
        self.messages += 1
        self.acknowledged = max(self.acknowledged, response.acknowledged)
        self.allowances |= {each.account: each for each in response.allowances}
        self.revoked |= set(response.revoked_leases)
        if response.lease_keys:
            self.keys = tuple(response.lease_keys)
            self.reader.use_keys(self.keys)


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def unknown_token() -> str:
    return "brt_" + os.urandom(32).hex()[:43]
