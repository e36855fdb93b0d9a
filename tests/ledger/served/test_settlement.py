"""Receipts from a bridge: verified, booked once, acknowledged, and kept as evidence where nobody owes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import grpc
import pytest

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.ledger.books import Books, BooksError
from blindrelay.trust import DirectorySigner, sign_receipt, verify_price_table
from blindrelay.v1.accounts_pb2 import LineState
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.receipts_pb2 import BASIS_NOT_STARTED, Receipt, SignedReceipt
from tests.ledger.served.conftest import RunningLedger, StartLedger
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.node import Node, unknown_token
from tests.patience import PATIENCE

UNITS = 10_000_000


async def check(ledger: RunningLedger) -> admin.CheckResponse:
    found = await ledger.admin.Check(admin.CheckRequest())
    assert found.balanced, found.problems
    return found


async def settlement(ledger: RunningLedger) -> admin.GetSettlementResponse:
    return await ledger.admin.GetSettlement(admin.GetSettlementRequest())


async def started(ledger: RunningLedger, node: Node, bridge: FakeBridge) -> tuple[str, bytes]:
    """A customer's token, and the envelope of an exchange that has started and ended."""
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    envelope = bridge.envelope()
    await node.end(await node.start(lease, envelope))
    return token, envelope


async def test_a_receipt_is_charged_once(ledger: RunningLedger, node: Node, bridge: FakeBridge) -> None:
    token, envelope = await started(ledger, node, bridge)
    receipt = bridge.receipt(envelope, 50)
    await bridge.send(receipt=receipt)
    await bridge.send(receipt=receipt)
    account = await ledger.standing()
    assert (account.balance, account.charged, account.outstanding) == (UNITS - 50, 50, 0)
    pages = await node.statement(token)
    assert (pages[0].balance, pages[0].charged) == (UNITS - 50, 50)
    (line,) = pages[0].lines
    assert (line.state, line.units, line.receipt) == (LineState.LINE_STATE_POSTED, 50, receipt)
    assert line.delegation == bridge.delegation.delegation
    assert line.delegation_signature == bridge.delegation.signature
    assert (await check(ledger)).open == 0


async def test_what_was_not_started_is_not_charged(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    token, envelope = await started(ledger, node, bridge)
    await bridge.settle(envelope, 0, basis=BASIS_NOT_STARTED)
    assert (await ledger.standing()).balance == UNITS
    (line,) = (await node.statement(token))[0].lines
    assert (line.state, line.units) == (LineState.LINE_STATE_VOIDED, 0)


async def test_a_settled_exchange_gives_its_room_back_at_once(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    token = await ledger.account(units=1_000)
    await ledger.limit(overdraft=0, max_units=1_000)
    lease, envelope = await node.good_lease(token), bridge.envelope(max_units=1_000)
    account = lease.account
    assert node.allowances[account].exchanges == 1
    await node.start(lease, envelope)
    assert node.allowances[account].exchanges == 0
    await bridge.settle(envelope, 0)
    await node.until(lambda: node.allowances[account].exchanges == 1)


async def test_a_watermark_closes_what_was_never_claimed(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    token, _ = await started(ledger, node, bridge)
    account = (await ledger.standing()).pseudonym
    before = node.allowances[account].exchanges
    await bridge.watermark()
    await node.until(lambda: node.allowances[account].exchanges == before + 1)
    (line,) = (await node.statement(token))[0].lines
    assert (line.state, line.units) == (LineState.LINE_STATE_VOIDED, 0)
    (replica,) = (await settlement(ledger)).replicas
    assert replica.replica_id == bridge.replica_id


async def test_receipts_before_a_watermark_are_booked_before_it(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    """In one batch, as after a reconnection: the watermark must not void what a receipt before it settles."""
    _, envelope = await started(ledger, node, bridge)
    await bridge.stop()
    await bridge.put(receipt=bridge.receipt(envelope, 7))
    await bridge.watermark(count=1, units=7)
    await bridge.start()
    await bridge.until(lambda: bridge.acknowledged == 1)
    assert (await ledger.standing()).charged == 7
    found = await check(ledger)
    assert (found.orphans, found.contradictions) == (0, 0)


@pytest.mark.parametrize("change", ["signature", "units", "signer"])
async def test_a_receipt_that_does_not_verify_is_dropped(
    ledger: RunningLedger, node: Node, bridge: FakeBridge, change: str
) -> None:
    _, envelope = await started(ledger, node, bridge)
    signed = bridge.receipt(envelope, 1)
    content = Receipt.FromString(signed.receipt)
    content.units = 100
    altered = {
        "signature": SignedReceipt(receipt=signed.receipt, signature=bytes(64)),
        "units": SignedReceipt(receipt=content.SerializeToString(), signature=signed.signature),
        "signer": sign_receipt(content, DirectorySigner.generate()),
    }[change]
    await bridge.send(receipt=altered)
    assert (await ledger.standing()).charged == 0
    assert (await settlement(ledger)).rejected == 1
    assert "bill_rejected" in ledger.log.said()
    await bridge.settle(envelope, 1)
    assert (await ledger.standing()).charged == 1


async def test_a_second_receipt_is_kept_and_the_first_stands(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    _, envelope = await started(ledger, node, bridge)
    await bridge.settle(envelope, 10)
    await bridge.settle(envelope, 20)
    assert (await ledger.standing()).charged == 10
    assert (await check(ledger)).contradictions == 1
    (kept,) = (await ledger.admin.ListEvidence(admin.ListEvidenceRequest())).evidence
    assert (kept.kind, kept.units) == (admin.EVIDENCE_KIND_CONTRADICTION, 20)
    assert "evidence_kept" in ledger.log.said()


async def test_a_receipt_without_a_start_is_an_orphan(ledger: RunningLedger, bridge: FakeBridge) -> None:
    await bridge.settle(bridge.envelope(), 10)
    assert (await check(ledger)).orphans == 1
    (kept,) = (await ledger.admin.ListEvidence(admin.ListEvidenceRequest())).evidence
    assert (kept.kind, kept.units) == (admin.EVIDENCE_KIND_ORPHAN, 10)


async def test_another_bridges_receipts_are_not_acknowledged(
    start_ledger: StartLedger, bridge: FakeBridge
) -> None:
    """A wrong identity in ledger.toml must lose nothing."""
    wrong = replace(bridge.config, identities=(bytes(32),))
    ledger = await start_ledger(bridges=(wrong,))
    await bridge.put(receipt=bridge.receipt(bridge.envelope(), 5))
    await bridge.until(lambda: bridge.streams >= 2)
    assert bridge.acknowledged == 0
    (shown,) = (await settlement(ledger)).bridges
    assert not shown.connected
    assert "identity" in shown.problem


async def test_the_next_identity_may_sign_too(start_ledger: StartLedger, bridge: FakeBridge) -> None:
    both = (bytes(32), bridge.identity.public_key)
    await start_ledger(bridges=(replace(bridge.config, identities=both),))
    await bridge.settle(bridge.envelope(), 5)


async def test_several_receipts_come_in_one_message(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    """One that does not verify does not keep the others out."""
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    envelopes = [bridge.envelope() for _ in range(4)]
    for envelope in envelopes:
        await node.start(lease, envelope)
    first, *more = (bridge.receipt(envelope, 10**at) for at, envelope in enumerate(envelopes))
    more[1].signature = bytes(64)
    await bridge.send(receipt=first, more_receipts=more)
    assert (await ledger.standing()).charged == 1_011
    assert (await settlement(ledger)).rejected == 1


async def test_a_bridge_that_comes_back_goes_on(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    _, envelope = await started(ledger, node, bridge)
    await bridge.settle(envelope, 3)
    await bridge.stop()
    number = await bridge.put(receipt=bridge.receipt(bridge.envelope(), 4))
    await bridge.start()
    await bridge.until(lambda: bridge.acknowledged == number)
    assert (await ledger.standing()).charged == 3
    (shown,) = (await settlement(ledger)).bridges
    assert shown.connected
    assert shown.heard_at >= int(time.time()) - 60


async def test_customers_get_the_price_table_with_its_proof(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    token = await ledger.account()
    table_hash = await bridge.publish_prices()
    await bridge.settle(bridge.envelope(), 0)
    response = await node.price_table(token, table_hash)
    assert verify_price_table(response.price_table, bridge.identity.public_key).rows
    unknown = await node.price_table(token, bytes(32))
    assert not unknown.HasField("price_table")


async def test_a_long_statement_comes_in_pages(
    ledger: RunningLedger, node: Node, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.ledger.account_service.PAGE", 2)
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    for units in range(1, 6):
        envelope = bridge.envelope()
        await node.start(lease, envelope)
        await bridge.settle(envelope, units)
    pages = await node.statement(token)
    assert [len(page.lines) for page in pages] == [2, 2, 1]
    assert [line.units for page in pages for line in page.lines] == [1, 2, 3, 4, 5]
    assert [page.charged for page in pages] == [15, 0, 0]


async def test_a_customer_needs_a_token_of_the_account(ledger: RunningLedger, node: Node) -> None:
    await ledger.account()
    for call in (node.statement(unknown_token()), node.price_table(unknown_token(), bytes(32))):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        status = OuterStatus.of(failure.value.code(), failure.value.details())
        assert status is OuterStatus.UNAUTHENTICATED


async def test_a_month_that_is_none_is_malformed(ledger: RunningLedger, node: Node) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await node.statement(await ledger.account(), month="May")
    assert OuterStatus.of(failure.value.code(), failure.value.details()) is OuterStatus.MALFORMED


async def test_what_cannot_be_booked_is_not_acknowledged(
    ledger: RunningLedger, node: Node, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a full disk: the bridge keeps the receipt, and sends it again."""
    _, envelope = await started(ledger, node, bridge)
    failed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def post(*_: object) -> None:
        loop.call_soon_threadsafe(failed.set)
        raise BooksError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Books, "post", post)
        number = await bridge.put(receipt=bridge.receipt(envelope, 8))
        await asyncio.wait_for(failed.wait(), PATIENCE)
        assert bridge.acknowledged == 0
    await bridge.until(lambda: bridge.acknowledged == number)
    assert (await ledger.standing()).charged == 8
    assert "books_failed" in ledger.log.said()
