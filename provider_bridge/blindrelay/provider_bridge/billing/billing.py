"""What all bills of one process share: prices, the signing key, the outbox (spec/protocol.md, annex E)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.audit_log import Event
from blindrelay.provider_bridge.billing.outbox import Outbox, OutboxError, Replica, Waiting
from blindrelay.provider_bridge.billing.prices import PriceList, read_prices
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.countdown import Countdown
from blindrelay.provider_bridge.keys.delegation_file import DAY
from blindrelay.provider_bridge.keys.signatory import Signatory
from blindrelay.serving.files import Latest
from blindrelay.trust import SignedDelegation, sign_price_table, sign_receipt, sign_watermark
from blindrelay.v1.limits import REPLAY_WINDOW, TIME_STEP, VERSION
from blindrelay.v1.receipts_pb2 import Receipt, SignedPriceTable, SignedReceipt, SignedWatermark, Watermark

REPLACED_SECONDS: Final = 86_400
"""How long a table still applies to clients that accepted it before it was replaced."""

SYNC_SECONDS: Final = 0.05
"""Seconds between two writes of the outbox to its disk: a loss of power may cost that much."""

REST_SECONDS: Final = 5.0
"""Seconds without new exchanges after a failed write to the outbox: none of them would have a receipt."""

_WARNINGS: Final = ((0, Event.PRICES_NOT_VALID), (7 * DAY, Event.PRICES_END_IN_A_WEEK))


class Billing:
    """Makes receipts for one process.

    Attributes:
        outbox: where they wait.
        replica_id: of the process, 16 bytes, once begin() was called.
    """

    def __init__(
        self,
        prices: Path,
        outbox: Outbox,
        signatory: Signatory,
        clock: Clock,
        providers: Iterable[str],
        note: Callable[[Event], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        """`on_fault` is told of a fault in reading a usage report. Raises ConfigError if the prices are
        missing or wrong.
        """
        names = tuple(providers)
        self._read = Latest(
            [prices],
            lambda: read_prices(prices, signatory.identity, names),
            lambda _: note(Event.PRICES_UNUSABLE),
        )
        self.outbox = outbox
        self._signatory = signatory
        self._clock = clock
        self._note = note
        self._countdown = Countdown(note, _WARNINGS)
        self.on_fault = on_fault
        self.replica_id = b""
        self._started_at = 0
        self._tables: dict[bytes, tuple[PriceList, float | None]] = {}
        self._open: defaultdict[bytes, dict[bytes, int]] = defaultdict(dict)
        self._listeners: defaultdict[bytes, set[asyncio.Event]] = defaultdict(set)
        self._failed_at = float("-inf")
        self._take_over(self._read())

    def begin(self, replica_id: bytes, started_at: int) -> None:
        """Notes the process in the outbox, and that those before it have ended."""
        self.replica_id, self._started_at = replica_id, started_at
        self.outbox.begin_replica(replica_id, started_at, self.now())

    def note_keys(self, key_ids: Iterable[bytes]) -> None:
        """Notes the keys that the process holds."""
        try:
            self.outbox.note_keys(self.replica_id, key_ids)
        except OutboxError:
            self._failed()

    @property
    def prices(self) -> PriceList:
        """The list in force. Called for each directory and exchange, it warns before its end."""
        current = self._read()
        self._countdown.look(current.seconds_left(self._clock.now()))
        if current.hash not in self._tables or self._tables[current.hash][1] is not None:
            try:
                self._take_over(current)
            except OutboxError:
                self._failed()
        return current

    def accepted(self, price_table_hash: bytes) -> PriceList | None:
        """The list that a client accepts by this hash (32 bytes), or by none; None if that is replaced."""
        current = self.prices
        if not price_table_hash or price_table_hash == current.hash:
            return current
        known, replaced_at = self._tables.get(price_table_hash, (None, None))
        if known is None or replaced_at is None or self._clock.now() > replaced_at + REPLACED_SECONDS:
            return None
        return known

    def has_room(self, peer: bytes) -> bool:
        """Whether a receipt of the peer could be kept now."""
        rested = self._clock.now() >= self._failed_at + REST_SECONDS
        return rested and self.outbox.has_room(peer)

    def opened(self, peer: bytes, envelope_hash: bytes, issued_at: int) -> None:
        """Notes an exchange that has no receipt yet."""
        self._open[peer][envelope_hash] = issued_at

    def closed(self, peer: bytes, envelope_hash: bytes) -> None:
        """Forgets it."""
        self._open[peer].pop(envelope_hash, None)
        if not self._open[peer]:
            del self._open[peer]

    def receipt(self, peer: bytes, receipt: Receipt) -> SignedReceipt | None:
        """Signs and keeps a receipt whose first fields the bill has filled in.

        None if it cannot be kept: then there is no receipt, and no charge.
        """
        receipt.version = VERSION
        receipt.identity = self._signatory.identity
        receipt.replica_id = self.replica_id
        receipt.ended_at = self.now() // TIME_STEP * TIME_STEP
        signer, delegation = self._signatory.for_bills(self.now())
        signed = sign_receipt(receipt, signer)
        try:
            self.outbox.add(peer, self.replica_id, signed, receipt.units, delegation)
        except OutboxError:
            self._failed()
            return None
        self.closed(peer, receipt.envelope_hash)
        for listener in self._listeners[peer]:
            listener.set()
        return signed

    def waiting(self, peer: bytes, after: int, limit: int) -> list[Waiting]:
        """As Outbox.waiting."""
        return self.outbox.waiting(peer, after, limit)

    def listen(self, peer: bytes) -> asyncio.Event:
        """An event that is set for each new receipt of the peer, until ignore()."""
        listener = asyncio.Event()
        self._listeners[peer].add(listener)
        return listener

    def ignore(self, peer: bytes, listener: asyncio.Event) -> None:
        """Ends listen()."""
        self._listeners[peer].discard(listener)
        if not self._listeners[peer]:
            del self._listeners[peer]

    def now(self) -> int:
        """Unix seconds, by the bridge's clock."""
        return int(self._clock.now())

    def watermark(self, peer: bytes) -> tuple[SignedWatermark, SignedDelegation]:
        """The watermark for a peer, now. Every receipt of the peer must be sent before it.

        With it comes the delegation that allows its signature.
        """
        closed_before = self.now() - REPLAY_WINDOW
        running = [hashed for hashed, at in self._open.get(peer, {}).items() if at < closed_before]
        replica = self.outbox.replica(self.replica_id, peer)
        _, delegation = self._signatory.for_bills(self.now())
        return self._signed(replica, closed_before=closed_before, open=running), delegation

    def ended(self, peer: bytes) -> tuple[list[SignedWatermark], SignedDelegation]:
        """The last watermarks of the processes that had this outbox before, and the delegation."""
        _, delegation = self._signatory.for_bills(self.now())
        replicas = self.outbox.ended(peer)
        return [self._signed(each, closed_before=self.now(), ended=True) for each in replicas], delegation

    @property
    def table_hashes(self) -> Iterable[bytes]:
        """The hashes of the tables that receipts may name."""
        return self._tables.keys()

    def price_tables(self) -> dict[bytes, SignedPriceTable]:
        """The tables that receipts may name, signed, by their hashes."""
        signer, delegation = self._signatory.for_bills(self.now())
        return {
            digest: sign_price_table(known.encoded, signer, delegation)
            for digest, (known, _) in self._tables.items()
        }

    async def keep_synced(self) -> None:
        """Writes the outbox to its disk, until cancelled."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            try:
                await asyncio.to_thread(self.outbox.sync)
            except OSError:
                self._failed()

    def _signed(self, replica: Replica, **fields: object) -> SignedWatermark:
        signer, _ = self._signatory.for_bills(self.now())
        watermark = Watermark(
            version=VERSION,
            identity=self._signatory.identity,
            replica_id=replica.replica_id,
            started_at=replica.started_at,
            key_ids=replica.key_ids,
            count=replica.count,
            units=replica.units,
            **fields,  # type: ignore[arg-type]
        )
        return sign_watermark(watermark, signer)

    def _take_over(self, current: PriceList) -> None:
        """Puts a list in force. The previous one stays known."""
        now = self.now()
        self.outbox.note_price_table(current.hash, current.encoded, now, now - REPLACED_SECONDS)
        self._tables = {
            hashlib.sha256(encoded).digest(): (PriceList.of(encoded), replaced_at)
            for encoded, replaced_at in self.outbox.price_tables().items()
        }

    def _failed(self) -> None:
        self._failed_at = self._clock.now()
        self._note(Event.OUTBOX_UNUSABLE)
