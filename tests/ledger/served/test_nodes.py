"""Which relay processes there are, what they are told, and when others get what they may start."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindrelay.ledger.administration.context import MAX_PAGE, page_size
from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.books import RELEASE_SECONDS, SILENT_SECONDS, Allowance, Books, Lease, Limits
from blindrelay.ledger.nodes import HEARTBEAT_SECONDS, MAX_ITEMS, Node, Nodes
from blindrelay.v1.limits import MAX_MESSAGE_SIZE

NOW = int(time.time())
DIGEST = b"t" * 32


@pytest.fixture
def books(tmp_path: Path) -> Iterator[AsyncBooks]:
    """Ann may start one exchange."""
    books = Books(tmp_path / "ledger.db")
    books.add_account("ann", Limits(max_units=10, overdraft=0), by="test", now=NOW)
    books.credit("ann", 10, "order 1", by="test", now=NOW)
    books.add_token("ann", "", DIGEST, by="test", now=NOW)
    shared = AsyncBooks(books)
    yield shared
    shared.close()


async def leased(books: AsyncBooks, node: bytes) -> int:
    """A lease at that node. Returns how many exchanges may start there."""
    lease = await books.do(Books.lease, DIGEST, node, NOW)
    assert isinstance(lease, Lease)
    return lease.allowance.exchanges


class Clock:
    """Seconds that pass when a test says so, on the wall and since the start."""

    def __init__(self) -> None:
        self.passed = 0.0

    def wall(self) -> float:
        return NOW + self.passed

    def nodes(self, books: AsyncBooks, *, shared: bool = False) -> Nodes:
        """What a ledger that starts now knows."""
        return Nodes(books, self.wall, lambda: self.passed, shared=shared)


async def test_a_lost_nodes_allowance_is_free_when_it_starts_nothing_any_more(books: AsyncBooks) -> None:
    clock = Clock()
    nodes = clock.nodes(books)
    first, second = os.urandom(16), os.urandom(16)
    stream = nodes.join(first)
    nodes.join(second)
    assert await leased(books, first) == 1
    clock.passed = 2 * RELEASE_SECONDS
    await nodes.release_lost()
    nodes.leave(first, stream)
    clock.passed += RELEASE_SECONDS - 1
    await nodes.release_lost()
    assert await leased(books, second) == 0
    clock.passed += 1
    await nodes.release_lost()
    assert await leased(books, second) == 1


async def test_nodes_are_told_when_a_lost_nodes_allowance_will_be_free(books: AsyncBooks) -> None:
    clock = Clock()
    nodes = clock.nodes(books)
    first, second = os.urandom(16), os.urandom(16)
    stream, waiting = nodes.join(first), nodes.join(second)
    await leased(books, first)
    await leased(books, second)
    await nodes.release_lost()
    nodes.leave(first, stream)
    hints = []
    for _ in range(SILENT_SECONDS):
        clock.passed += 1
        await nodes.release_lost()
        hints += [each.limit.retry_after_seconds for each in (await waiting.next_message()).allowances]
    assert hints == [RELEASE_SECONDS + 1 - SILENT_SECONDS]


async def test_after_a_restart_nodes_have_time_to_come_back(books: AsyncBooks) -> None:
    clock = Clock()
    first, second = os.urandom(16), os.urandom(16)
    before = clock.nodes(books)
    before.join(first)
    await before.release_lost()
    assert await leased(books, first) == 1
    clock.passed = 1_000
    nodes = clock.nodes(books)
    clock.passed += RELEASE_SECONDS - 1
    await nodes.release_lost()
    assert await leased(books, second) == 0
    nodes.join(first)
    clock.passed += 2 * RELEASE_SECONDS
    await nodes.release_lost()
    assert await leased(books, second) == 0


async def test_another_ledgers_nodes_are_not_lost(books: AsyncBooks) -> None:
    """Until that ledger cannot reach the books any more, and has stopped to speak to them."""
    clock = Clock()
    here, there = (clock.nodes(books, shared=True) for _ in range(2))
    first, second = os.urandom(16), os.urandom(16)
    stream = there.join(first)
    here.join(second)
    assert await leased(books, first) == 1
    clock.passed = 2 * RELEASE_SECONDS
    await there.release_lost()
    assert stream._may_speak()
    await here.release_lost()
    assert await leased(books, second) == 0
    clock.passed += HEARTBEAT_SECONDS
    assert not stream._may_speak()
    await here.release_lost()
    assert await leased(books, second) == 0
    clock.passed += RELEASE_SECONDS
    await here.release_lost()
    assert await leased(books, second) == 1


async def test_a_ledger_that_has_the_books_alone_speaks_without_them(books: AsyncBooks) -> None:
    clock = Clock()
    stream = clock.nodes(books).join(os.urandom(16))
    clock.passed = 1_000
    assert stream._may_speak()


async def test_a_node_with_a_lease_and_no_stream_yet_is_not_lost(books: AsyncBooks) -> None:
    clock = Clock()
    nodes = clock.nodes(books)
    first, second = os.urandom(16), os.urandom(16)
    clock.passed = 2 * RELEASE_SECONDS
    await nodes.hear(first)
    assert await leased(books, first) == 1
    await nodes.release_lost()
    assert await leased(books, second) == 0


async def test_a_stream_that_was_replaced_takes_nobody_away(books: AsyncBooks) -> None:
    nodes = Nodes(books, time.time, time.monotonic)
    name = os.urandom(16)
    first = nodes.join(name)
    nodes.join(name)
    assert first.replaced
    nodes.leave(name, first)
    assert len(nodes) == 1


async def test_much_news_comes_in_several_messages() -> None:
    node = Node(time.monotonic)
    names = [f"{number:016}" for number in range(2 * MAX_ITEMS + 1)]
    node.tell(allowances=[Allowance(name, 2**62, 2**31) for name in names], revoked=names)
    messages = [await node.next_message() for _ in range(3)]
    assert [allowance.account for each in messages for allowance in each.allowances] == names
    assert [lease for each in messages for lease in each.revoked_leases] == names
    assert max(each.ByteSize() for each in messages) < MAX_MESSAGE_SIZE


async def test_the_newest_news_wins() -> None:
    node = Node(lambda: 7.5)
    node.tell(acknowledged=7, allowances=[Allowance("a", 1, 5)], keys=(b"k",))
    node.tell(acknowledged=3, allowances=[Allowance("a", 2, 4)])
    message = await node.next_message()
    assert (message.acknowledged, list(message.lease_keys), message.sent_at) == (7, [b"k"], 7_500)
    assert [(each.sequence, each.exchanges) for each in message.allowances] == [(2, 4)]


def test_a_page_has_a_limit() -> None:
    assert (page_size(0), page_size(7), page_size(MAX_PAGE + 1)) == (100, 7, MAX_PAGE)
