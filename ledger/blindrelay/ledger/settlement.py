"""Collects the receipts of one bridge, and acknowledges them once they are in the books."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from itertools import groupby
from typing import Final

import grpc

from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.audit_log import AuditLog, Event, Reason
from blindrelay.ledger.batches import batches
from blindrelay.ledger.bills import Bill, BillReader, PriceTable
from blindrelay.ledger.books import Books, LedgerError, Outcome, Receipt, Watermark
from blindrelay.ledger.bridge_channel import SettleCall, settlement_call
from blindrelay.ledger.config import BridgeConfig
from blindrelay.serving import ConfigError
from blindrelay.trust import DirectoryError
from blindrelay.v1.settlement_pb2 import SettleRequest, SettleResponse

RETRY_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
"""Seconds between two calls: longer after each failure, then always the last."""

SILENT_SECONDS: Final = 60.0
"""A bridge sends a watermark every ten seconds. One that sends nothing for a minute is called again."""

ELECTION_SECONDS: Final = 5.0
"""Seconds after which a ledger asks whether it is still the one that collects, before it books more."""

SETTLED: Final = frozenset({Outcome.POSTED, Outcome.VOIDED})

KEPT: Final = frozenset({Outcome.ORPHAN, Outcome.CONTRADICTION, Outcome.EXCESS, Outcome.LATE})
"""Outcomes of receipts that are kept as evidence and not charged."""

OnAccounts = Callable[[Collection[str]], Awaitable[None]]
"""Is called with the accounts (pseudonyms) whose allowances may have changed."""

OpenCall = Callable[[BridgeConfig], AbstractAsyncContextManager[SettleCall]]


class Settlement:
    """The stream of one bridge process. `clock` returns Unix seconds.

    Of several ledgers on the same books, one collects from each bridge. If it stops or fails, another does.
    For a moment it can be two, which does no harm: the books take each receipt once.
    """

    def __init__(
        self,
        bridge: BridgeConfig,
        books: AsyncBooks,
        on_accounts: OnAccounts,
        clock: Callable[[], float],
        log: AuditLog,
        open_call: OpenCall = settlement_call,
    ) -> None:
        self.bridge = bridge
        self.connected = False
        self.heard_at = 0
        """Unix seconds of the latest item."""
        self.problem: Reason | None = None
        self.settled = 0
        """Receipts that settled an exchange."""
        self._rejected = 0
        self._books = books
        self._on_accounts = on_accounts
        self._clock = clock
        self._log = log
        self._open_call = open_call
        self._task = f"settle {bridge.address}"
        self._elected_at = 0.0
        """When the books said so, by the event loop's clock."""
        self._reader = BillReader(bridge.identities, clock)

    @property
    def collected(self) -> bool:
        """Whether this ledger collects the receipts, or another with the same books does."""
        return self.connected or self.problem is Reason.ELSEWHERE

    @property
    def rejected(self) -> int:
        """Items that did not verify."""
        return self._rejected + self._reader.rejected

    async def run(self) -> None:
        """Collects until cancelled. Calls again whenever the stream has ended."""
        failures = 0
        while True:
            reason = await self._collect()
            failures = 0 if self.connected else failures + 1
            self._disconnected(reason)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])

    async def _collect(self) -> Reason:
        """One call, from its beginning to its end. Returns why it ended."""
        self._begin()
        try:
            if not await self._elected():
                return Reason.ELSEWHERE
            try:
                return await self._call()
            finally:
                with suppress(LedgerError):
                    await self._books.do(Books.resign, self._task)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        except TimeoutError:
            return Reason.SILENT
        except DirectoryError:
            return Reason.IDENTITY
        except ConfigError:
            return Reason.FILES
        except LedgerError:
            self._log.event(Event.BOOKS_FAILED)
            return Reason.BOOKS
        except Exception as error:
            self._log.fault(error)
            return Reason.FAULT

    async def _call(self) -> Reason:
        async with self._open_call(self.bridge) as call:
            await call.write(SettleRequest())
            return await self._take_all(call)

    async def _elected(self) -> bool:
        self._elected_at = asyncio.get_running_loop().time()
        return await self._books.do(Books.elected, self._task)

    async def _still_elected(self) -> bool:
        asked = asyncio.get_running_loop().time() - self._elected_at < ELECTION_SECONDS
        return asked or await self._elected()

    def _begin(self) -> None:
        self._rejected += self._reader.rejected
        self._reader = BillReader(self.bridge.identities, self._clock)

    async def _take_all(self, call: SettleCall) -> Reason:
        async with aclosing(batches(call, _size, SILENT_SECONDS)) as arriving:
            async for batch in arriving:
                if not await self._still_elected():
                    return Reason.ELSEWHERE
                await self._take(batch, call)
        return Reason.CLOSED

    async def _take(self, batch: Sequence[SettleResponse], call: SettleCall) -> None:
        bills = await asyncio.to_thread(self._verified, batch)
        self._connected()
        await self._book(bills)
        sequence = max(response.sequence for response in batch)
        if sequence:
            await call.write(SettleRequest(sequence=sequence))

    def _connected(self) -> None:
        self.heard_at = int(self._clock())
        if not self.connected:
            self.connected, self.problem = True, None
            self._log.event(Event.BRIDGE_UP, self.bridge.address)

    def _disconnected(self, reason: Reason) -> None:
        if self.connected or self.problem is not reason:
            elsewhere = reason is Reason.ELSEWHERE
            event = Event.BRIDGE_ELSEWHERE if elsewhere else Event.BRIDGE_DOWN
            self._log.event(event, self.bridge.address, None if elsewhere else reason)
        self.connected, self.problem = False, reason

    def _verified(self, batch: Sequence[SettleResponse]) -> list[Bill]:
        before = self._reader.rejected
        bills = self._reader.read(batch)
        if self._reader.rejected > before:
            self._log.event(Event.BILL_REJECTED, self.bridge.address)
        return bills

    async def _book(self, bills: Sequence[Bill]) -> None:
        """Books the bills in order: a watermark closes what the receipts before it have not settled."""
        now, accounts = int(self._clock()), set[str]()
        for kind, group in groupby(bills, type):
            if kind is Receipt:
                accounts |= await self._post([bill for bill in group if isinstance(bill, Receipt)], now)
                continue
            for bill in group:
                if isinstance(bill, Watermark):
                    accounts |= await self._books.do(Books.close_exchanges, bill, now)
                elif isinstance(bill, PriceTable):
                    await self._books.do(Books.add_price_table, bill.hash, bill.signed, now)
        await self._on_accounts(accounts)

    async def _post(self, receipts: Sequence[Receipt], now: int) -> frozenset[str]:
        posted = await self._books.do(Books.post, receipts, now)
        self.settled += sum(outcome in SETTLED for outcome in posted.outcomes)
        if not KEPT.isdisjoint(posted.outcomes):
            self._log.event(Event.EVIDENCE_KEPT, self.bridge.address)
        return posted.accounts


def _size(response: SettleResponse) -> int:
    return 1 + len(response.more_receipts)


def reason_of(error: grpc.aio.AioRpcError) -> Reason:
    """Why the stream has ended."""
    match error.code():
        case grpc.StatusCode.UNAUTHENTICATED:
            return Reason.TOKEN
        case grpc.StatusCode.UNIMPLEMENTED:
            return Reason.NO_BILLS
        case grpc.StatusCode.UNAVAILABLE:
            return Reason.UNREACHABLE
    return Reason.OTHER
