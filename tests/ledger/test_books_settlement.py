"""Lines, receipts, watermarks and time: what settles an exchange, and what does not."""

from __future__ import annotations

import pytest

from blindrelay.ledger.books import Books, End, Limits, Outcome, Start, State

from .trading import (
    BRIDGE,
    BY,
    NOW,
    Exchange,
    Node,
    balance,
    customer,
    post,
    sound,
    unique,
    watermark,
)

DAY = 86_400
LAPSED = NOW + 600 + 120
"""When an exchange of a deadline of 600 s lapses."""


@pytest.fixture
def node(books: Books) -> Node:
    return Node(books)


@pytest.fixture
def exchange(books: Books, node: Node) -> Exchange:
    """One that has started."""
    started = Exchange()
    node.start(node.lease(customer(books)), started)
    return started


def line(books: Books) -> tuple[State, int]:
    (found,) = books.lines("ann", "*", NOW)
    return found.state, found.units


def test_a_receipt_charges_its_units_once(books: Books, exchange: Exchange) -> None:
    assert line(books) == (State.RESERVED, 0)
    receipt = exchange.receipt(250)
    assert post(books, receipt, receipt) == (Outcome.POSTED, Outcome.REPEATED)
    assert post(books, receipt) == (Outcome.REPEATED,)
    assert (line(books), balance(books)) == ((State.POSTED, 250), 10_000_000 - 250)
    assert books.account("ann").outstanding == 0


def test_a_receipt_of_no_units_settles_too(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(0)) == (Outcome.POSTED,)
    assert (line(books), balance(books)) == ((State.POSTED, 0), 10_000_000)


def test_what_was_not_started_is_not_charged(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(0, started=False)) == (Outcome.VOIDED,)
    assert (line(books), balance(books)) == ((State.VOIDED, 0), 10_000_000)


def test_what_was_not_started_cannot_cost_anything(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(1, started=False)) == (Outcome.EXCESS,)
    assert (line(books), balance(books)) == ((State.RESERVED, 0), 10_000_000)


def test_the_first_receipt_stands(books: Books, exchange: Exchange) -> None:
    first, second = exchange.receipt(250), exchange.receipt(900)
    assert post(books, first, second) == (Outcome.POSTED, Outcome.CONTRADICTION)
    assert post(books, second) == (Outcome.REPEATED,)
    assert balance(books) == 10_000_000 - 250
    assert books.check().contradictions == 1
    (kept,) = books.evidence()
    assert (kept.kind, kept.receipt) == (Outcome.CONTRADICTION, second)


def test_no_receipt_takes_more_than_the_envelope_allows(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(1_000_001)) == (Outcome.EXCESS,)
    assert post(books, exchange.receipt(1_000_000)) == (Outcome.POSTED,)
    assert balance(books) == 9_000_000


def test_another_bridge_settles_nothing(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(5, identity=b"X" * 32)) == (Outcome.EXCESS,)
    assert post(books, exchange.receipt(7)) == (Outcome.POSTED,)
    assert balance(books) == 10_000_000 - 7


def test_an_orphan_is_kept_and_charges_nobody(books: Books) -> None:
    customer(books)
    receipt = Exchange().receipt(5)
    assert post(books, receipt) == (Outcome.ORPHAN,)
    assert post(books, receipt) == (Outcome.REPEATED,)
    assert books.check().orphans == 1
    assert (balance(books), books.lines(None, "*", NOW)) == (10_000_000, ())


def test_a_receipt_may_come_before_its_line(books: Books, node: Node) -> None:
    exchange = Exchange()
    lease = node.lease(customer(books))
    assert post(books, exchange.receipt(5)) == (Outcome.ORPHAN,)
    node.start(lease, exchange)
    assert (line(books), balance(books)) == ((State.POSTED, 5), 10_000_000 - 5)
    assert books.check().orphans == 0
    assert post(books, exchange.receipt(5)) == (Outcome.REPEATED,)
    node.report(exchange.end())
    sound(books)


def test_of_two_orphans_of_one_exchange_one_charges(books: Books, node: Node) -> None:
    exchange = Exchange()
    lease = node.lease(customer(books))
    assert post(books, exchange.receipt(5), exchange.receipt(6)) == (Outcome.ORPHAN, Outcome.ORPHAN)
    node.start(lease, exchange)
    assert line(books)[0] is State.POSTED
    check = books.check()
    assert (check.orphans, check.contradictions) == (0, 1)


def test_a_watermark_voids_what_was_never_claimed(books: Books, node: Node, exchange: Exchange) -> None:
    assert books.close_exchanges(watermark(NOW), NOW) == frozenset()
    assert line(books) == (State.RESERVED, 0)
    assert books.close_exchanges(watermark(NOW + 10), NOW) == {books.account("ann").pseudonym}
    assert line(books) == (State.VOIDED, 0)
    assert post(books, exchange.receipt(5)) == (Outcome.CONTRADICTION,)
    assert balance(books) == 10_000_000


def test_a_watermark_leaves_open_and_settled_exchanges_and_other_keys(books: Books, node: Node) -> None:
    running, other_key, posted = Exchange(), Exchange(key_id=b"L" * 16), Exchange()
    node.start(node.lease(customer(books)), running, other_key, posted)
    post(books, posted.receipt(3))
    books.close_exchanges(watermark(NOW + 10, still_open=[running]), NOW)
    states = {found.envelope_hash: found.state for found in books.lines("ann", "*", NOW)}
    assert states == {running.hash: State.RESERVED, other_key.hash: State.RESERVED, posted.hash: State.POSTED}


def test_the_last_watermark_of_a_process_closes_whatever_it_had(books: Books, exchange: Exchange) -> None:
    books.close_exchanges(watermark(NOW - 1000, ended=True), NOW)
    assert line(books) == (State.VOIDED, 0)


def test_an_exchange_lapses_when_its_time_is_over(books: Books, exchange: Exchange) -> None:
    held = books.account("ann").outstanding
    assert held == 1
    books.tidy(LAPSED - 1)
    assert line(books) == (State.RESERVED, 0)
    assert books.tidy(LAPSED) == {books.account("ann").pseudonym}
    assert line(books) == (State.LAPSED, 0)
    assert books.account("ann").outstanding == 0


@pytest.mark.parametrize(
    ("after", "outcome", "charged"), [(7 * DAY, Outcome.POSTED, 5), (7 * DAY + 1, Outcome.LATE, 0)]
)
def test_a_late_receipt_charges_for_seven_days(
    books: Books, exchange: Exchange, after: int, outcome: Outcome, charged: int
) -> None:
    books.tidy(LAPSED)
    assert post(books, exchange.receipt(5), now=LAPSED + after) == (outcome,)
    assert balance(books) == 10_000_000 - charged


def test_a_watermark_closes_a_lapsed_exchange(books: Books, exchange: Exchange) -> None:
    books.tidy(LAPSED)
    books.close_exchanges(watermark(LAPSED), LAPSED)
    assert post(books, exchange.receipt(5), now=LAPSED) == (Outcome.CONTRADICTION,)


def test_a_late_receipt_waits_for_room(books: Books, node: Node) -> None:
    digest = customer(books, units=1_000, limits=Limits(max_units=1000, overdraft=0))
    late, present = Exchange(1000), Exchange(1000, issued_at=LAPSED)
    node.start(node.lease(digest), late)
    books.tidy(LAPSED)
    node.start(node.lease(digest, LAPSED), present, now=LAPSED)
    assert post(books, late.receipt(800), now=LAPSED) == (Outcome.WAITING,)
    assert post(books, late.receipt(800), now=LAPSED) == (Outcome.REPEATED,)
    assert post(books, late.receipt(801), now=LAPSED) == (Outcome.CONTRADICTION,)
    assert balance(books) == 1_000
    assert (books.settlement(LAPSED).waiting, books.check().open) == (1, 2)
    books.close_exchanges(watermark(LAPSED + 10, still_open=[present]), LAPSED)
    assert post(books, present.receipt(100), now=LAPSED) == (Outcome.POSTED,)
    assert books.tidy(LAPSED + 1) == {books.account("ann").pseudonym}
    assert balance(books) == 100
    assert [found.state for found in books.lines("ann", "*", NOW)] == [State.POSTED, State.POSTED]


@pytest.mark.parametrize(
    ("outcome", "received", "state"),
    [
        ("refused", 0, State.LAPSED),
        ("bridge_unavailable", 0, State.LAPSED),
        ("overloaded", 0, State.LAPSED),
        ("bridge_unavailable", 1, State.RESERVED),
        ("ok", 0, State.RESERVED),
        ("cancelled", 0, State.RESERVED),
        ("deadline", 0, State.RESERVED),
        ("internal", 0, State.RESERVED),
    ],
)
def test_a_refusal_releases_what_was_held_at_once(
    books: Books, node: Node, exchange: Exchange, outcome: str, received: int, state: State
) -> None:
    node.report(exchange.end(outcome, received=received))
    assert line(books) == (state, 0)
    assert post(books, exchange.receipt(5)) == (Outcome.POSTED,)


def test_an_end_belongs_to_one_start(books: Books, node: Node, exchange: Exchange) -> None:
    """A client repeats its envelope, and the bridge refuses the copy: the first one stays held."""
    lease = node.lease(books_token(books))
    node.report(Start(lease.id, exchange.envelope, 600))
    copy = node.sequence
    assert node.report(End(copy, "refused", 1, 0)).rejected == 1
    assert line(books) == (State.RESERVED, 0)
    assert node.report(exchange.end("refused", received=0)).rejected == 0
    assert node.report(exchange.end("refused", received=0)).rejected == 1
    assert line(books) == (State.LAPSED, 0)


def books_token(books: Books) -> bytes:
    """Another token of the same account."""
    digest = unique(32)
    books.add_token("ann", "", digest, by=BY, now=NOW)
    return digest


def test_lines_are_taken_once(books: Books, node: Node) -> None:
    lease = node.lease(customer(books))
    first, second, third = Exchange(), Exchange(), Exchange()
    node.start(lease, first, second)
    assert books.acknowledged(node.name) == 2
    taken = books.take_lines(node.name, 2, [second.start(lease), third.start(lease)], NOW)
    assert taken.acknowledged == 3
    assert books.account("ann").outstanding == 3
    assert books.take_lines(node.name, 1, [first.start(lease)], NOW).acknowledged == 3
    assert books.account("ann").outstanding == 3
    for _ in range(2):
        assert books.take_lines(node.name, 4, [second.end()], NOW).rejected == 0


def test_numbers_are_each_nodes_own(books: Books) -> None:
    digest = customer(books)
    first, second = Node(books), Node(books)
    running, refused = Exchange(), Exchange()
    first.start(first.lease(digest), running)
    second.start(second.lease(digest), refused)
    second.report(refused.end("refused", received=0))
    assert [found.state for found in books.lines("ann", "*", NOW)] == [State.RESERVED, State.LAPSED]


def test_a_line_that_cannot_be_used_is_counted_and_passed_over(books: Books, node: Node) -> None:
    lease = node.lease(customer(books))
    good = Exchange()
    borrowed = Node(books).lease(books_token(books))
    taken = node.report(
        Start("nobody's", Exchange().envelope, 600),
        Start(borrowed.id, Exchange().envelope, 600),
        Start(lease.id, b"no envelope", 600),
        End(99, "ok", 1, 1),
        good.start(lease),
    )
    assert (taken.acknowledged, taken.rejected) == (5, 4)
    assert [found.envelope_hash for found in books.lines("ann", "*", NOW)] == [good.hash]


def test_a_start_beyond_the_allowance_is_not_held_and_keeps_the_bound(books: Books, node: Node) -> None:
    digest = customer(books, units=1_500, limits=Limits(max_units=1000, overdraft=0))
    lease = node.lease(digest)
    allowed, beyond = Exchange(1000), Exchange(1000)
    node.start(lease, allowed, beyond)
    assert post(books, beyond.receipt(800)) == (Outcome.WAITING,)
    assert post(books, allowed.receipt(1000)) == (Outcome.POSTED,)
    books.tidy(NOW)
    assert balance(books) == 500
    books.credit("ann", 300, "more", by=BY, now=NOW)
    books.tidy(NOW)
    assert balance(books) == 0


def test_a_clock_that_runs_ahead_holds_nothing_for_ever(books: Books, node: Node) -> None:
    exchange = Exchange(issued_at=(1 << 63) - 8)
    node.start(node.lease(customer(books)), exchange)
    books.tidy(NOW + 300 + 600 + 120)
    assert line(books) == (State.LAPSED, 0)


def test_an_absurd_deadline_holds_nothing_for_ever(books: Books, node: Node) -> None:
    node.start(node.lease(customer(books)), Exchange(deadline=(1 << 32) - 1))
    books.tidy(NOW + DAY + 120)
    assert line(books) == (State.LAPSED, 0)


def test_an_exchange_of_more_units_than_there_are_is_not_held(books: Books, node: Node) -> None:
    exchange = Exchange(max_units=5 * 10**18)
    node.start(node.lease(customer(books)), exchange)
    assert post(books, exchange.receipt(5 * 10**18)) == (Outcome.WAITING,)
    assert balance(books) == 10_000_000


def test_a_batch_settles_many_accounts_at_once(books: Books) -> None:
    receipts = []
    for number in range(5):
        node, exchange = Node(books), Exchange()
        node.start(node.lease(customer(books, f"a{number}", units=100)), exchange)
        receipts.append(exchange.receipt(number * 10))
    assert set(post(books, *receipts)) == {Outcome.POSTED}
    assert [each.balance for each in books.accounts()] == [100, 90, 80, 70, 60]


def test_the_books_of_a_bridge_are_separate(books: Books, node: Node, exchange: Exchange) -> None:
    post(books, exchange.receipt(5))
    (replica,) = books.settlement(NOW).replicas
    assert (replica.identity, replica.count, replica.units) == (BRIDGE, 1, 5)


def test_a_late_receipt_takes_its_room_from_what_has_not_started(books: Books, node: Node) -> None:
    digest = customer(books, units=3_000, limits=Limits(max_units=1000, overdraft=0))
    late = Exchange(1000)
    other = Node(books)
    node.start(node.lease(digest), late)
    other.lease(digest)
    node.allowance()
    other.allowance()
    books.tidy(LAPSED)
    for each in (node, other):
        each.lease(digest, LAPSED)
    assert post(books, late.receipt(800), now=LAPSED) == (Outcome.POSTED,)
    assert balance(books) == 2_200
    assert node.allowance(LAPSED).exchanges + other.allowance(LAPSED).exchanges == 2
