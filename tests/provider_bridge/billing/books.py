"""What a client and a keeper of books do with a bridge's bills: verify everything."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from blindrelay.provider_bridge.config import BillingConfig
from blindrelay.trust import (
    BillSigner,
    SignedDelegation,
    bill_signer,
    check_bill,
    check_receipt,
    read_statement,
    verify_price_table,
    verify_receipt,
    verify_watermark,
)
from blindrelay.v1.grpc_profile import SETTLE_METHOD
from blindrelay.v1.inner_pb2 import ExchangeError, ResponseTail
from blindrelay.v1.receipts_pb2 import Basis, Measure, PriceTable, Receipt, ReportedBy, Statement, Watermark
from blindrelay.v1.settlement_pb2 import SettleRequest, SettleResponse
from tests.patience import PATIENCE

from ..sealed_caller import Response, SealedCaller, SealedRequest, collect

PRICES = """
unit = "10 µUSD"
valid_from = "2020-01-01"
valid_to = "2099-12-31"

[[price]]
provider = "openai"
model = "gpt-voice*"
character = 15_000_000

[[price]]
provider = "openai"
model = "whisper*"
millisecond = 1_000
audio_input = 1_000_000

[[price]]
provider = "openai"
model = "gpt-image*"
input = 500_000
image_output = 4_000_000

[[price]]
provider = "openai"
model = "pixels*"
call = 40_000_000

[[price]]
provider = "openai"
model = "gpt-5*"
input = 1_000_000
cache_read = 100_000
output = 8_000_000

[[price]]
provider = "anthropic"
model = "claude*"
input = 300_000
cache_read = 30_000
cache_write = 375_000
cache_write_long = 600_000
output = 1_500_000

[[price]]
provider = "gemini"
model = "gemini*"
input = 125_000
output = 1_000_000

[[price]]
provider = "openai"
model = "@brought"
call = 2_000_000
"""


def billing_at(folder: Path, prices: str = PRICES) -> BillingConfig:
    (folder / "prices.toml").write_text(prices, "utf-8")
    return BillingConfig(folder / "prices.toml", folder / "outbox.db")


@dataclass
class CheckedBill:
    """A bill that its client has verified, from the envelope to the last unit."""

    receipt: Receipt
    statement: Statement | None

    @property
    def basis(self) -> str:
        return Basis.Name(self.receipt.basis).removeprefix("BASIS_")

    @property
    def by(self) -> str:
        assert self.statement is not None
        return ReportedBy.Name(self.statement.reported_by).removeprefix("REPORTED_BY_")

    @property
    def counts(self) -> dict[str, int]:
        counted = [] if self.statement is None else self.statement.counts
        return {Measure.Name(each.measure).removeprefix("MEASURE_").lower(): each.amount for each in counted}


def checked(
    end: ResponseTail | ExchangeError | None, request: SealedRequest, signer: BillSigner, table: PriceTable
) -> CheckedBill:
    """Raises what is wrong with a bill."""
    assert end is not None
    receipt = verify_receipt(end.receipt, signer)
    check_receipt(receipt, request.envelope)
    statement = read_statement(end.statement, receipt) if receipt.statement_hash else None
    check_bill(receipt, statement, table, 1_000_000, request.exchange.rounding_coin())
    return CheckedBill(receipt, statement)


@dataclass
class Books:
    """Everything that one Settle stream has brought, verified.

    Attributes:
        together: how many receipts each message with receipts had.
    """

    receipts: list[Receipt] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    together: list[int] = field(default_factory=list)
    watermarks: list[Watermark] = field(default_factory=list)
    tables: dict[bytes, PriceTable] = field(default_factory=dict)
    signer: BillSigner | None = None

    def take(self, response: SettleResponse, identity: bytes, now: int) -> str | None:
        item = response.WhichOneof("item")
        if item == "signer":
            signed = SignedDelegation(response.signer.delegation, response.signer.delegation_signature)
            self.signer = bill_signer(signed, identity)
        elif item == "price_table":
            digest = hashlib.sha256(response.price_table.table).digest()
            self.tables[digest] = verify_price_table(response.price_table, identity)
        elif item == "receipt":
            assert self.signer is not None
            for each in (response.receipt, *response.more_receipts):
                receipt = verify_receipt(each, self.signer)
                assert receipt.price_table_hash in self.tables
                self.receipts.append(receipt)
            self.together.append(1 + len(response.more_receipts))
            first = response.sequence - len(response.more_receipts)
            self.sequences += range(first, response.sequence + 1)
        elif item == "watermark":
            assert self.signer is not None
            self.watermarks.append(verify_watermark(response.watermark, self.signer, now))
        return item


@dataclass
class Settling:
    """A keeper of books on one Settle stream."""

    call: Any
    identity: bytes
    now: int
    books: Books = field(default_factory=Books)

    async def until(self, item: str) -> Books:
        """Reads until an item of that kind has come."""
        while True:
            async with asyncio.timeout(PATIENCE):
                message = await self.call.read()
            assert message is not grpc.aio.EOF, await self.call.details()
            if self.books.take(SettleResponse.FromString(message), self.identity, self.now) == item:
                return self.books

    async def receipts(self, count: int) -> Books:
        while len(self.books.receipts) < count:
            await self.until("receipt")
        return self.books

    async def acknowledge(self, sequence: int) -> None:
        """Acknowledges, and returns when the bridge has noted it: the stream is over."""
        await self.call.write(SettleRequest(sequence=sequence).SerializeToString())
        await self.call.done_writing()
        async with asyncio.timeout(PATIENCE):
            assert await self.call.code() is grpc.StatusCode.OK


@asynccontextmanager
async def settling(caller: SealedCaller, now: int) -> AsyncIterator[Settling]:
    call: Any = caller.channel.stream_stream(SETTLE_METHOD)(metadata=caller.metadata)
    try:
        yield Settling(call, caller.identity, now)
    finally:
        call.cancel()


@dataclass
class BilledCaller:
    """A client of a bridge that keeps bills."""

    caller: SealedCaller
    table: PriceTable
    last: Response = field(default_factory=Response)

    async def signer(self) -> BillSigner:
        directory = await self.caller.directory()
        return BillSigner(directory.identity, directory.signing_key)

    async def check(self, response: Response, request: SealedRequest) -> CheckedBill:
        self.last = response
        return checked(response.end, request, await self.signer(), self.table)

    async def bill(self, head: Any = None, body: bytes = b"{}", **envelope: Any) -> CheckedBill:
        """Makes a whole exchange; its response is in `last`."""
        request = await self.caller.seal(head, body, **envelope)
        return await self.check(await self.caller.complete(request), request)

    async def collected(self, call: Any, request: SealedRequest) -> CheckedBill:
        return await self.check(await collect(call, request), request)


def table_of(settled: Books) -> PriceTable:
    return list(settled.tables.values())[-1]
