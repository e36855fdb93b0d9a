"""What a relay gets from a ledger: leases, acknowledgements, allowances, revocations."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from typing import Any

import grpc
import pytest

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.ledger import async_books, nodes, server
from blindrelay.ledger.books import RELEASE_SECONDS, Books, BooksError, LinesTaken
from blindrelay.serving import StartError
from blindrelay.v1.ledger_pb2 import EndLine, ReportLine, StartLine
from blindrelay.v1.outer_status import OuterStatus
from tests.ledger.served.conftest import RunningLedger, StartLedger
from tests.ledger.served.fake_bridge import FakeBridge
from tests.ledger.served.node import Node, unknown_token
from tests.patience import PATIENCE

UNITS = 10_000_000


async def refusal(call: Any) -> OuterStatus | None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return OuterStatus.of(failure.value.code(), failure.value.details())


async def test_a_lease_is_good_at_the_node_that_fetched_it(ledger: RunningLedger, node: Node) -> None:
    token = await ledger.account(units=UNITS)
    response = await node.lease(token)
    lease = node.reader.read(response.lease)
    assert lease is not None
    assert lease.account == response.allowance.account == (await ledger.standing()).pseudonym
    assert response.lease_seconds == lease.expires_at - lease.issued_at == 300
    assert response.allowance.exchanges > 0
    async with ledger.node() as other:
        await other.connect()
        assert other.reader.read(response.lease) is None


async def test_scope_and_limits_are_in_the_lease(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    await ledger.account(units=UNITS)
    await ledger.limit(rate=5, concurrent=7, max_units=2_000)
    scope = admin.Scope(addresses=["192.0.2.0/24"], classes=[0])
    issued = await ledger.admin.IssueToken(admin.IssueTokenRequest(account="ann", name="k", scope=scope))
    lease = await node.good_lease(issued.token)
    assert (lease.rate, lease.burst, lease.concurrent, lease.units) == (5, 5, 7, 2_000)
    await ledger.limit(rate=0.5, burst=20)
    slower = await node.good_lease(issued.token)
    assert (slower.rate, slower.burst) == (0.5, 20)
    assert lease.classes == frozenset({0})
    assert lease.bridges is None
    assert lease.allows_address("192.0.2.9")
    assert not lease.allows_address("198.51.100.1")


async def test_nobody_gets_a_lease_without_units_or_a_token(ledger: RunningLedger, node: Node) -> None:
    token = await ledger.account()
    assert (await node.lease(token)).limit.status == "limit_units"
    assert (await node.lease(unknown_token())).limit.status == "token_unknown"
    await ledger.credit(UNITS)
    assert (await node.lease(token)).lease


async def test_a_disabled_account_gets_no_lease_and_its_leases_are_revoked(
    ledger: RunningLedger, node: Node
) -> None:
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    await ledger.admin.UpdateAccount(admin.UpdateAccountRequest(account="ann", enabled=False))
    await node.until(lambda: lease.lease_id in node.revoked)
    assert (await node.lease(token)).limit.status == "token_unknown"
    await ledger.admin.UpdateAccount(admin.UpdateAccountRequest(account="ann", enabled=True))
    assert (await node.lease(token)).lease


async def test_revoking_a_token_tells_every_node_and_the_next_one(ledger: RunningLedger, node: Node) -> None:
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    account = await ledger.admin.GetAccount(admin.GetAccountRequest(account="ann"))
    await ledger.admin.RevokeToken(admin.RevokeTokenRequest(id=account.tokens[0].id))
    await node.until(lambda: lease.lease_id in node.revoked)
    assert (await node.lease(token)).limit.status == "token_unknown"
    async with ledger.node() as later:
        await later.connect()
        assert lease.lease_id in later.revoked


async def test_a_rotated_token_replaces_the_old_one(ledger: RunningLedger, node: Node) -> None:
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    account = await ledger.admin.GetAccount(admin.GetAccountRequest(account="ann"))
    made = await ledger.admin.RotateToken(admin.RotateTokenRequest(id=account.tokens[0].id))
    await node.until(lambda: lease.lease_id in node.revoked)
    assert (await node.lease(token)).limit.status == "token_unknown"
    assert (await node.lease(made.token)).lease


async def test_only_relays_may_call(ledger: RunningLedger, node: Node) -> None:
    stranger = Node(ledger.address, unknown_token())
    async with stranger:
        assert await refusal(stranger.lease(unknown_token())) is OuterStatus.UNAUTHENTICATED
        await stranger.connect()
        assert stranger.ended
        assert stranger.messages == 0


async def test_a_name_of_another_size_is_malformed(ledger: RunningLedger, node: Node) -> None:
    node.name = b"short"
    assert await refusal(node.lease(unknown_token())) is OuterStatus.MALFORMED


async def test_lines_take_the_allowance_and_are_acknowledged(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    number = await node.start(lease, bridge.envelope())
    assert node.acknowledged == number == 1
    assert (await ledger.standing()).outstanding == 1
    await node.end(number, "bridge_unavailable", size=0)
    assert (await ledger.standing()).outstanding == 0


async def test_repeated_lines_change_nothing(ledger: RunningLedger, node: Node, bridge: FakeBridge) -> None:
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    start = ReportLine(
        start=StartLine(lease_id=lease.lease_id, envelope=bridge.envelope(), deadline_seconds=60)
    )
    await node.write(1, start)
    await node.until(lambda: node.acknowledged == 1)
    await node.disconnect()
    await node.connect()
    assert node.acknowledged == 1
    end = ReportLine(end=EndLine(start_sequence=1, outcome="ok", request_bytes=1, response_bytes=1))
    await node.write(1, start, end)
    await node.until(lambda: node.acknowledged == 2)
    assert (await ledger.standing()).outstanding == 1


async def test_a_credit_gives_a_waiting_node_new_allowances(
    ledger: RunningLedger, node: Node, bridge: FakeBridge
) -> None:
    token = await ledger.account(units=1)
    await ledger.limit(overdraft=0, max_units=1_000)
    response = await node.lease(token)
    account = (await ledger.standing()).pseudonym
    assert response.lease
    assert response.allowance.exchanges == 0
    assert response.allowance.limit.status == "limit_units"
    await ledger.credit(1_000, reference="order 2")
    await node.until(lambda: node.allowances[account].exchanges == 1)


async def test_a_quiet_ledger_is_heard(start_ledger: StartLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that hears nothing for ten seconds starts nothing."""
    monkeypatch.setattr(nodes, "HEARTBEAT_SECONDS", 0.05)
    ledger = await start_ledger()
    async with ledger.node() as node:
        await node.connect()
        await node.until(lambda: node.messages >= 3)
    assert RELEASE_SECONDS > 10 > 3 * 3.0


async def test_a_second_stream_of_a_process_ends_the_first(ledger: RunningLedger, node: Node) -> None:
    async with ledger.node() as again:
        again.name = node.name
        await again.connect()
        await node.until(lambda: node.ended)
        assert not again.ended


async def test_what_a_lost_node_may_start_goes_to_others(
    start_ledger: StartLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "RELEASE_SECONDS", 0)
    ledger = await start_ledger()
    token = await ledger.account(units=1)
    await ledger.limit(overdraft=0, max_units=1)
    async with ledger.node() as first, ledger.node() as second:
        await first.connect()
        await second.connect()
        assert (await first.lease(token)).allowance.exchanges == 1
        assert (await second.lease(token)).allowance.exchanges == 0
        await first.disconnect()
        account = (await ledger.standing()).pseudonym
        await second.until(lambda: second.allowances[account].exchanges == 1)


async def test_a_failure_of_the_books_ends_one_round_and_not_the_ledger(
    start_ledger: StartLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TIDY_SECONDS", 0.01)
    rounds: asyncio.Queue[None] = asyncio.Queue()
    loop, tidy = asyncio.get_running_loop(), Books.tidy

    def failing(*_: object) -> None:
        loop.call_soon_threadsafe(rounds.put_nowait, None)
        raise BooksError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Books, "tidy", failing)
        ledger = await start_ledger()
        async with asyncio.timeout(PATIENCE):
            for _ in range(3):
                await rounds.get()
    assert Books.tidy is tidy
    assert "books_failed" in ledger.log.said()
    assert (await ledger.account()).startswith("brt_")


async def test_lines_wait_while_the_books_are_away(
    ledger: RunningLedger, node: Node, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream stays, and new leases are refused clearly."""
    monkeypatch.setattr(async_books, "RETRY_SECONDS", 0.05)
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    failed, back = asyncio.Event(), threading.Event()
    loop, take_lines = asyncio.get_running_loop(), Books.take_lines

    def away(*given: Any) -> LinesTaken:
        if back.is_set():
            return take_lines(*given)
        loop.call_soon_threadsafe(failed.set)
        raise BooksError("the database is away")

    monkeypatch.setattr(Books, "take_lines", away)
    start = StartLine(lease_id=lease.lease_id, envelope=bridge.envelope(), deadline_seconds=60)
    await node.write(1, ReportLine(start=start))
    await asyncio.wait_for(failed.wait(), PATIENCE)
    with monkeypatch.context() as broken:
        broken.setattr(Books, "lease", away)
        assert await refusal(node.lease(token)) is OuterStatus.LEDGER_UNAVAILABLE
    assert (node.acknowledged, node.ended) == (0, False)
    back.set()
    await node.until(lambda: node.acknowledged == 1)
    assert (await ledger.standing()).outstanding == 1


async def test_two_ledgers_do_not_share_their_books(start_ledger: StartLedger) -> None:
    await start_ledger()
    with pytest.raises(StartError, match="another ledger serves"):
        await start_ledger()


async def test_the_log_tells_of_nobody(ledger: RunningLedger, node: Node, bridge: FakeBridge) -> None:
    token = await ledger.account(units=UNITS)
    lease = await node.good_lease(token)
    envelope = bridge.envelope()
    await node.end(await node.start(lease, envelope))
    await bridge.settle(envelope, 5)
    said = ledger.log.said()
    assert "bridge_up" in {json.loads(line)["event"] for line in ledger.log.lines}
    secrets = ("ann", token, lease.account, lease.lease_id, hashlib.sha256(envelope).hexdigest())
    assert [secret for secret in secrets if secret in said] == []
