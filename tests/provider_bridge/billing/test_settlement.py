"""Receipts on their way to the books: kept, repeated and acknowledged, over restarts."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge import AuditLog, Bridge, BridgeConfig
from blindrelay.provider_bridge.billing import settlement
from blindrelay.serving import ConfigError
from blindrelay.trust import IdentityKey

from ..conftest import Serve
from ..replica import FakeTime
from ..scripted_provider import ScriptedProvider, response
from .books import BilledCaller, billing_at, settling
from .samples import ANSWER, CHAT, EXACT


async def test_receipts_are_repeated_until_they_are_acknowledged(
    billed: BilledCaller, provider: ScriptedProvider
) -> None:
    provider.script = response(ANSWER)
    made = [(await billed.bill(EXACT, CHAT)).receipt for _ in range(3)]
    async with settling(billed.caller, int(time.time())) as keeper:
        books = await keeper.receipts(3)
        assert books.receipts == made
        assert (books.sequences, books.together) == ([1, 2, 3], [3])
        watermark = (await keeper.until("watermark")).watermarks[-1]
        assert (watermark.count, watermark.units, list(watermark.open)) == (3, 3 * 1_440, [])
        await keeper.acknowledge(2)
    async with settling(billed.caller, int(time.time())) as keeper:
        books = await keeper.until("watermark")
        assert (books.sequences, books.receipts) == ([3], made[2:])
        made.append((await billed.bill(EXACT, CHAT)).receipt)
        assert (await keeper.receipts(2)).receipts[-1] == made[-1], "it comes as soon as it is made"
        assert keeper.books.sequences[-1] == 4


async def test_new_process_closes_the_old_one(
    serve: Serve, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.script = response(ANSWER)
    async with serve(billing=billing_at(tmp_path)) as caller:
        directory = await caller.directory()
        old_keys = [key.key_id for key in directory.keys]
        await caller.exchange(EXACT, CHAT)
    async with serve(billing=billing_at(tmp_path)) as caller, settling(caller, int(time.time())) as keeper:
        books = await keeper.until("watermark")
        assert len(books.receipts) == 1, "it comes before its process is closed"
        (ended,) = books.watermarks
        assert ended.ended
        assert (ended.replica_id, list(ended.key_ids)) == (directory.replica_id, old_keys)
        assert (ended.count, ended.units) == (1, 1_440)
        live = (await keeper.until("watermark")).watermarks[-1]
        assert (live.ended, live.count) == (False, 0)
        assert live.replica_id == (await caller.directory()).replica_id


async def test_process_that_has_ended_is_closed_again_with_each_watermark(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay may have been cut off from its ledger, and report only now what the old process was doing."""
    monkeypatch.setattr(settlement, "WATERMARK_SECONDS", 0.01)
    async with serve(billing=billing_at(tmp_path)) as caller:
        await caller.directory()
    async with serve(billing=billing_at(tmp_path)) as caller, settling(caller, int(time.time())) as keeper:
        for _ in range(6):
            await keeper.until("watermark")
        assert [each.ended for each in keeper.books.watermarks] == [True, False] * 3


async def test_outbox_serves_one_process(config: BridgeConfig, identity: IdentityKey, tmp_path: Path) -> None:
    billing = replace(config, billing=billing_at(tmp_path))
    async with Bridge(billing, identity).running():
        with pytest.raises(ConfigError, match="another process has it"):
            Bridge(billing, identity)


async def test_full_disk_costs_the_receipt_and_not_the_response(
    serve: Serve, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.script = response(ANSWER)
    noted: list[str] = []
    clock = FakeTime(time.time()).clock  # so that the outbox rests throughout
    async with serve(billing=billing_at(tmp_path), log=AuditLog(noted.append), clock=clock) as caller:
        await caller.directory()
        outbox = caller.served._billing.outbox
        outbox._db.execute("PRAGMA query_only = ON")
        got = await caller.exchange(EXACT, CHAT)
        assert (got.status, got.body) == (200, ANSWER)
        assert got.end is not None
        assert not got.end.HasField("receipt"), "no receipt, no charge"
        assert not got.end.statement
        assert (await caller.exchange(EXACT, CHAT)).failure == ("OVERLOADED", "NOT_STARTED")
        assert len(provider.received) == 1


async def test_prices_that_change_apply_to_those_who_accept_them(
    billed: BilledCaller, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.script = response(ANSWER)
    first = billed.caller.served._billing.prices.hash
    billing_at(tmp_path, (tmp_path / "prices.toml").read_text().replace("= 8_000_000", "= 9_000_000"))
    directory = await billed.caller.directory()
    second = billed.caller.served._billing.prices.hash
    assert first != second
    assert second in directory.signed

    async def units(accepted: bytes) -> Any:
        head = type(EXACT)()
        head.CopyFrom(EXACT)
        head.price_table_hash = accepted
        got = await billed.caller.exchange(head, CHAT)
        assert got.end is not None
        return got.failure[0] or got.end.receipt

    async with settling(billed.caller, int(time.time())) as keeper:
        assert (await units(b"\x01" * 32)) == "PRICE_CHANGED"
        for accepted in (first, second, b""):
            await units(accepted)
        books = await keeper.receipts(4)
    assert [each.units for each in books.receipts] == [0, 1_440, 1_540, 1_540]
    assert [each.price_table_hash for each in books.receipts[1:]] == [first, second, second]
    assert set(books.tables) == {first, second}
