"""A bridge that only settles: it signs what a test tells it to, and repeats it until it is acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from contextlib import suppress
from typing import Any

import grpc

from blindrelay.ledger.config import BridgeConfig
from blindrelay.serving import Address
from blindrelay.testbed.ports import free_port
from blindrelay.trust import (
    DirectorySigner,
    IdentityKey,
    sign_price_table,
    sign_receipt,
    sign_watermark,
)
from blindrelay.v1.envelope import encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.receipts_pb2 import (
    BASIS_METERED,
    Measure,
    PriceRow,
    PriceTable,
    Rate,
    Receipt,
    SignedReceipt,
    Watermark,
)
from blindrelay.v1.settlement_pb2 import SettleRequest, SettleResponse, SettleSigner
from tests.patience import PATIENCE

SERVICE = "blindrelay.v1.SettlementService"
LONG = 365 * 86_400
SPOKEN_SECONDS = 10
"""A ledger leaves a bridge that is silent for a minute. One with nothing to say names its signer again."""


class FakeBridge:
    """Its outbox survives stop() and start()."""

    def __init__(self) -> None:
        self.identity = IdentityKey.generate()
        self.signer = DirectorySigner.generate()
        now = int(time.time())
        self.delegation = self.identity.delegate(self.signer.public_key, now - LONG, now + LONG)
        self.replica_id = os.urandom(16)
        self.key_id = os.urandom(16)
        self.started_at = now - 60
        self.outbox: list[SettleResponse] = []
        self.acknowledged = 0
        self.streams = 0
        self.open_streams = 0
        self.settled = 0
        self.port = free_port()
        self._news = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    @property
    def config(self) -> BridgeConfig:
        return BridgeConfig(Address("127.0.0.1", self.port), (self.identity.public_key,))

    async def start(self) -> None:
        self._server = grpc.aio.server()
        handler = grpc.stream_stream_rpc_method_handler(
            self._settle, SettleRequest.FromString, SettleResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"Settle": handler}),)
        )
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)

    def envelope(self, issued_at: int | None = None, **fields: Any) -> bytes:
        """The envelope of a new exchange with this bridge."""
        now = int(time.time()) if issued_at is None else issued_at
        return encode_envelope(
            Envelope(
                version=1,
                exchange_id=os.urandom(16),
                identity=self.identity.public_key,
                key_id=self.key_id,
                issued_at=now // 10 * 10,
                **{"max_units": 1_000_000, **fields},
            )
        )

    def receipt(self, envelope: bytes, units: int, **fields: Any) -> SignedReceipt:
        """A receipt, not sent yet."""
        values: dict[str, Any] = {
            "version": 1,
            "identity": self.identity.public_key,
            "envelope_hash": hashlib.sha256(envelope).digest(),
            "units": units,
            "basis": BASIS_METERED,
            "price_table_hash": bytes(32),
            "replica_id": self.replica_id,
            "ended_at": int(time.time()) // 10 * 10,
        }
        return sign_receipt(Receipt(**(values | fields)), self.signer)

    def price_table(self) -> PriceTable:
        now = int(time.time())
        row = PriceRow(provider="p", model="*", rates=[Rate(measure=Measure.MEASURE_CALL, rate=1_000_000)])
        return PriceTable(
            version=1,
            identity=self.identity.public_key,
            valid_from=now - 60,
            valid_to=now + 86_400,
            unit="10 µUSD",
            rows=[row],
        )

    async def settle(self, envelope: bytes, units: int, **fields: Any) -> None:
        """Sends a receipt, and waits until it is acknowledged."""
        await self.send(receipt=self.receipt(envelope, units, **fields))

    async def send(self, **item: Any) -> None:
        """Sends something that has to be acknowledged, and waits until it is."""
        number = await self.put(**item)
        await self.until(lambda: self.acknowledged >= number)

    async def put(self, **item: Any) -> int:
        """Puts something into the outbox that has to be acknowledged. Returns its number."""
        self.settled += 1
        self.outbox.append(SettleResponse(sequence=self.settled, **item))
        await self._tell()
        return self.settled

    async def say(self, **item: Any) -> None:
        """Sends something that is not acknowledged."""
        self.outbox.append(SettleResponse(**item))
        await self._tell()

    async def watermark(self, **fields: Any) -> None:
        values: dict[str, Any] = {
            "version": 1,
            "identity": self.identity.public_key,
            "replica_id": self.replica_id,
            "started_at": self.started_at,
            "closed_before": int(time.time()) + 60,
            "key_ids": [self.key_id],
        }
        await self.say(watermark=sign_watermark(Watermark(**(values | fields)), self.signer))

    async def publish_prices(self) -> bytes:
        """Sends a price table, and returns the hash of its bytes."""
        encoded = self.price_table().SerializeToString(deterministic=True)
        await self.say(price_table=sign_price_table(encoded, self.signer, self.delegation))
        return hashlib.sha256(encoded).digest()

    async def until(self, condition: Any) -> None:
        """Waits for something that an acknowledgement or a new stream brings."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(condition)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _settle(self, requests: Any, context: Any) -> Any:
        self.streams += 1
        self.open_streams += 1
        reading = asyncio.create_task(self._read_acknowledgements(requests))
        try:
            yield self._signer_item()
            at = 0
            while True:
                while at < len(self.outbox):
                    item = self.outbox[at]
                    at += 1
                    if not item.sequence or item.sequence > self.acknowledged:
                        yield item
                if not await self._more_than(at):
                    yield self._signer_item()
        finally:
            reading.cancel()
            self.open_streams -= 1
            await asyncio.shield(self._tell())

    def _signer_item(self) -> SettleResponse:
        signer = SettleSigner(
            delegation=self.delegation.delegation, delegation_signature=self.delegation.signature
        )
        return SettleResponse(signer=signer)

    async def _more_than(self, count: int) -> bool:
        """Waits until the outbox has more items, or for as long as a bridge may be silent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SPOKEN_SECONDS), self._news:
                return await self._news.wait_for(lambda: count < len(self.outbox))
        return False

    async def _read_acknowledgements(self, requests: Any) -> None:
        async for request in requests:
            self.acknowledged = max(self.acknowledged, request.sequence)
            await self._tell()
