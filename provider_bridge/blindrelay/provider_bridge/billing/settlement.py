"""Sends receipts to the ledger (spec/protocol.md, annex E.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.billing.billing import Billing
from blindrelay.provider_bridge.billing.outbox import OutboxError, Waiting
from blindrelay.provider_bridge.peers import Peers
from blindrelay.serving import CallRefusedError, Context, guarded, write_in_time
from blindrelay.trust import SignedDelegation
from blindrelay.v1.grpc_profile import SETTLE, SETTLEMENT_SERVICE
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.settlement_pb2 import SettleRequest, SettleResponse, SettleSigner

WATERMARK_SECONDS: Final = 10.0

GATHER_SECONDS: Final = 0.05
"""Seconds that a new receipt waits for others: a message costs a ledger more than a signature."""

_AT_ONCE: Final = 100
"""Receipts that are read from the outbox together, and sent in one message if they have one signer."""


class SettlementService:
    """Settle, for callers that show the token under which their relays call the bridge."""

    def __init__(self, billing: Billing, peers: Peers) -> None:
        self._billing = billing
        self._peers = peers

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the method."""
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            SETTLE: grpc.stream_stream_rpc_method_handler(guarded(self._settle))
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SETTLEMENT_SERVICE, handlers),))

    async def _settle(self, _: object, context: Context) -> None:
        with self._peers.admitted(context) as peer:
            sending = asyncio.create_task(SettleStream(self._billing, peer, context).run())
            try:
                await self._acknowledge(peer, context, sending)
            finally:
                sending.cancel()
                await asyncio.wait([sending])
            if not sending.cancelled():
                sending.result()

    async def _acknowledge(self, peer: bytes, context: Context, sending: asyncio.Task[None]) -> None:
        """Serves until the caller has finished, or sending has failed."""
        while not sending.done():
            reading = asyncio.ensure_future(context.read())
            await asyncio.wait([reading, sending], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                return
            if (message := reading.result()) is grpc.aio.EOF:
                return
            try:
                self._billing.outbox.acknowledge(peer, SettleRequest.FromString(message).sequence)
            except (DecodeError, OverflowError):
                raise CallRefusedError(OuterStatus.MALFORMED) from None
            except OutboxError:
                raise CallRefusedError(OuterStatus.OVERLOADED) from None


class SettleStream:
    """What one caller is sent: tables, receipts in order, and watermarks after them."""

    def __init__(self, billing: Billing, peer: bytes, context: Context) -> None:
        self._billing = billing
        self._peer = peer
        self._context = context
        self._signer: SignedDelegation | None = None
        self._sent = 0
        self._tables: set[bytes] = set()

    async def run(self) -> None:
        """Sends until cancelled."""
        news = self._billing.listen(self._peer)
        try:
            await self._send_tables()
            await self._send_receipts()
            while True:
                await self._send_tables()
                # Again each time: a relay may report what it had started only now.
                await self._send_ended()
                await self._send_watermark()
                await self._send_news(news)
        finally:
            self._billing.ignore(self._peer, news)

    async def _send_news(self, news: asyncio.Event) -> None:
        """New receipts, soon after they are made, until the next watermark is due."""
        due = asyncio.get_running_loop().time() + WATERMARK_SECONDS
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await news.wait()
            except TimeoutError:
                return
            await asyncio.sleep(GATHER_SECONDS)
            news.clear()
            await self._send_receipts()

    async def _send_receipts(self) -> None:
        while found := self._billing.waiting(self._peer, self._sent, _AT_ONCE):
            if any(table not in self._tables for table in self._billing.table_hashes):
                await self._send_tables()
            for delegation, group in groupby(found, lambda each: each.delegation):
                await self._send_signer(delegation)
                await self._send_together(list(group))

    async def _send_together(self, found: Sequence[Waiting]) -> None:
        first, *more = (each.receipt for each in found)
        last = found[-1].sequence
        await self._send(SettleResponse(sequence=last, receipt=first, more_receipts=more))
        self._sent = last

    async def _send_watermark(self) -> None:
        """Sends a watermark after all receipts that it counts: none is made before it is signed."""
        while self._billing.waiting(self._peer, self._sent, 1):
            await self._send_receipts()
        watermark, delegation = self._billing.watermark(self._peer)
        await self._send_signer(delegation)
        await self._send(SettleResponse(watermark=watermark))

    async def _send_ended(self) -> None:
        watermarks, delegation = self._billing.ended(self._peer)
        for watermark in watermarks:
            await self._send_signer(delegation)
            await self._send(SettleResponse(watermark=watermark))

    async def _send_tables(self) -> None:
        for digest, table in self._billing.price_tables().items():
            if digest not in self._tables:
                self._tables.add(digest)
                await self._send(SettleResponse(price_table=table))

    async def _send_signer(self, delegation: SignedDelegation) -> None:
        if delegation != self._signer:
            self._signer = delegation
            signer = SettleSigner(delegation=delegation.delegation, delegation_signature=delegation.signature)
            await self._send(SettleResponse(signer=signer))

    async def _send(self, response: SettleResponse) -> None:
        await write_in_time(self._context, response.SerializeToString())
