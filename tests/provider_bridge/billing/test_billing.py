"""What all bills of one process share: prices that change, running exchanges, the clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blindrelay.provider_bridge import Event, HeldIdentity
from blindrelay.provider_bridge.billing.billing import REPLACED_SECONDS, REST_SECONDS, Billing
from blindrelay.provider_bridge.billing.outbox import Outbox
from blindrelay.trust import IdentityKey, bill_signer, verify_receipt, verify_watermark
from blindrelay.v1.receipts_pb2 import BASIS_METERED, Receipt, Watermark

from ..replica import DAY, FakeTime, W
from .books import PRICES, billing_at

START = 1_900_000_000
PEER, OTHER = b"p" * 16, b"o" * 16
REPLICA = bytes(15) + b"1"


@dataclass
class Process:
    """A process that keeps bills, and its clock under a test's hand."""

    folder: Path
    identity: IdentityKey
    time: FakeTime
    text: str = PRICES
    replica_id: bytes = REPLICA
    noted: list[Event] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = billing_at(self.folder, self.text)
        self.outbox = Outbox(config.outbox)
        self.billing = Billing(
            *(config.prices, self.outbox, HeldIdentity(self.identity), self.time.clock),
            *(["openai", "anthropic", "gemini"], self.noted.append, self.faults.append),
        )
        self.billing.begin(self.replica_id, int(self.time.wall))

    def receipt(self, number: int, units: int = 5, peer: bytes = PEER) -> Receipt:
        made = Receipt(
            envelope_hash=bytes([number]) * 32,
            units=units,
            basis=BASIS_METERED,
            price_table_hash=self.billing.prices.hash,
        )
        signed = self.billing.receipt(peer, made)
        assert signed is not None
        return Receipt.FromString(signed.receipt)

    def watermark(self, peer: bytes = PEER) -> Watermark:
        signed, delegation = self.billing.watermark(peer)
        signer = bill_signer(delegation, self.identity.public_key)
        return verify_watermark(signed, signer, int(self.time.wall))

    def prices(self, text: str) -> bytes:
        draft = self.folder / "draft"  # a file of its own: two writes of one size may have one time
        draft.write_text(text, "utf-8")
        draft.replace(self.folder / "prices.toml")
        return self.billing.prices.hash


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path, IdentityKey.generate(), FakeTime(START))
    yield process
    process.outbox.close()


def test_running_exchange_stays_open_in_the_watermark(process: Process) -> None:
    old, new, foreign = (letter * 32 for letter in (b"h", b"n", b"f"))
    process.billing.opened(PEER, old, START - W - 1)
    process.billing.opened(PEER, new, START - W)
    process.billing.opened(OTHER, foreign, START - W - 1)
    watermark = process.watermark()
    assert watermark.closed_before == START - W
    assert list(watermark.open) == [old], "the new one is not closed, and the other belongs to another peer"
    process.billing.closed(PEER, old)
    assert not process.watermark().open


def test_watermark_counts_the_receipts_of_its_peer(process: Process) -> None:
    process.receipt(1, units=5)
    process.receipt(2, units=20)
    process.receipt(3, units=100, peer=OTHER)
    assert (process.watermark().count, process.watermark().units) == (2, 25)
    assert (process.watermark(OTHER).count, process.watermark(OTHER).units) == (1, 100)
    process.outbox.acknowledge(PEER, 2)
    assert process.watermark().count == 2, "an acknowledgement does not undo what was claimed"


def test_receipt_ends_its_exchange_in_steps_of_ten_seconds(process: Process) -> None:
    process.time.advance(7)
    process.billing.opened(PEER, bytes([1]) * 32, START - W - 100)
    receipt = process.receipt(1)
    assert receipt.ended_at == START
    assert receipt.replica_id == REPLICA
    assert not process.watermark().open


def test_delegation_is_renewed_before_it_ends(process: Process) -> None:
    for day in range(4):
        process.receipt(day)
        process.time.advance(DAY)
    waiting = process.outbox.waiting(PEER, 0, 10)
    assert len({each.delegation.delegation for each in waiting}) == 4
    for each in waiting:
        verify_receipt(each.receipt, bill_signer(each.delegation, process.identity.public_key))


def test_replaced_table_applies_for_a_day_to_those_who_accepted_it(process: Process) -> None:
    first = process.billing.prices.hash
    second = process.prices(PRICES.replace("= 8_000_000", "= 9_000_000"))
    assert second != first
    for accepted in (b"", second):
        found = process.billing.accepted(accepted)
        assert found is not None
        assert found.hash == second
    found = process.billing.accepted(first)
    assert found is not None
    assert found.hash == first
    assert process.billing.accepted(bytes(32)) is None
    process.time.advance(REPLACED_SECONDS)
    assert process.billing.accepted(first) is not None
    process.time.advance(1)
    assert process.billing.accepted(first) is None


def test_replaced_table_is_known_to_the_next_process(process: Process, tmp_path: Path) -> None:
    first = process.billing.prices.hash
    process.outbox.close()
    dearer = PRICES.replace("= 8_000_000", "= 9_000_000")
    later = Process(tmp_path, process.identity, process.time, dearer, bytes(16))
    assert later.billing.prices.hash != first
    assert later.billing.accepted(first) is not None
    assert set(later.billing.price_tables()) == set(later.billing.table_hashes) >= {first}


def test_unusable_prices_leave_the_old_ones_in_force(process: Process) -> None:
    before = process.billing.prices.hash
    assert process.prices("unit = 3") == before
    assert process.noted == [Event.PRICES_UNUSABLE]


def test_end_of_the_prices_is_announced_a_week_before(process: Process) -> None:
    table = PRICES.replace("2020-01-01", "2030-03-18").replace("2099-12-31", "2030-04-17")
    process.prices(table)
    assert process.noted == [Event.PRICES_NOT_VALID], "they begin tomorrow"
    week, ended = [Event.PRICES_END_IN_A_WEEK], [Event.PRICES_NOT_VALID]
    for days, noted in ((1, []), (23, []), (1, week), (1, []), (6, ended), (1, [])):
        process.noted.clear()
        process.time.advance(days * DAY)
        assert process.billing.prices.hash == process.billing.prices.hash
        assert process.noted == noted, f"after {days} days"
    process.noted.clear()
    process.prices(table.replace("2030-04-17", "2031-04-17"))
    assert process.noted == []


def test_outbox_that_cannot_be_written_costs_receipts_and_keeps_new_exchanges_out(process: Process) -> None:
    assert process.billing.has_room(PEER)
    process.outbox._db.execute("PRAGMA query_only = ON")
    made = Receipt(envelope_hash=bytes(32), basis=BASIS_METERED)
    assert process.billing.receipt(PEER, made) is None
    assert process.noted == [Event.OUTBOX_UNUSABLE]
    assert not process.billing.has_room(PEER)
    process.prices(PRICES.replace("= 8_000_000", "= 9_000_000"))
    assert not process.billing.has_room(PEER)
    process.outbox._db.execute("PRAGMA query_only = OFF")
    process.time.advance(REST_SECONDS)
    assert process.billing.has_room(PEER)
