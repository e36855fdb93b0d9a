"""What relays report of starts and ends, whatever their clients do."""

from __future__ import annotations

import pytest

from blindrelay.ledger.books import Books, End, Limits, Outcome, Start, State

from .trading import (
    BY,
    NOW,
    Exchange,
    Node,
    balance,
    customer,
    only_line,
    post,
    sound,
    unique,
    watermark,
)

DAY = 86_400


def second_token(books: Books) -> bytes:
    """Another token of the same account."""
    digest = unique(32)
    books.add_token("ann", "", digest, by=BY, now=NOW)
    return digest


def test_a_receipt_may_come_before_its_line(books: Books, node: Node) -> None:
    exchange = Exchange()
    lease = node.lease(customer(books))
    assert post(books, exchange.receipt(5)) == (Outcome.ORPHAN,)
    node.start(lease, exchange)
    assert (only_line(books), balance(books)) == ((State.POSTED, 5), 10_000_000 - 5)
    assert books.check().orphans == 0
    assert post(books, exchange.receipt(5)) == (Outcome.REPEATED,)
    node.report(exchange.end())
    sound(books)


def test_of_two_orphans_of_one_exchange_one_charges(books: Books, node: Node) -> None:
    exchange = Exchange()
    lease = node.lease(customer(books))
    assert post(books, exchange.receipt(5), exchange.receipt(6)) == (Outcome.ORPHAN, Outcome.ORPHAN)
    node.start(lease, exchange)
    assert only_line(books)[0] is State.POSTED
    check = books.check()
    assert (check.orphans, check.contradictions) == (0, 1)


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
        ("token_unknown", 0, State.RESERVED),
    ],
)
def test_a_refusal_releases_what_was_held_at_once(
    books: Books, node: Node, exchange: Exchange, outcome: str, received: int, state: State
) -> None:
    node.report(exchange.end(outcome, received=received))
    assert only_line(books) == (state, 0)
    assert post(books, exchange.receipt(5)) == (Outcome.POSTED,)


def test_an_end_belongs_to_one_start(books: Books, node: Node, exchange: Exchange) -> None:
    other = Exchange()
    node.start(node.lease(second_token(books)), other)
    assert node.report(other.end("refused", received=0)).rejected == 0
    assert node.report(other.end("refused", received=0)).rejected == 1
    assert [found.state for found in books.lines("ann", "*", NOW)] == [State.RESERVED, State.LAPSED]
    assert node.report(exchange.end("refused", received=0)).rejected == 0


@pytest.mark.parametrize("first_to_end", [0, 1])
@pytest.mark.parametrize("together", [True, False])
def test_of_two_streams_with_an_envelope_the_refused_one_releases_nothing(
    books: Books, node: Node, first_to_end: int, together: bool
) -> None:
    """The bridge takes either of them, and the books cannot tell which."""
    lease, exchange = node.lease(customer(books)), Exchange()
    refused = End(node.sequence + 1 + first_to_end, "refused", 1, 0)
    lines = (exchange.start(lease), exchange.start(lease), refused)
    for message in [lines] if together else [(line,) for line in lines]:
        node.report(*message)
    assert only_line(books) == (State.RESERVED, 0)
    assert post(books, exchange.receipt(1_000_000)) == (Outcome.POSTED,)


def test_two_streams_with_an_envelope_may_have_two_nodes(books: Books) -> None:
    digest, exchange = customer(books), Exchange()
    first, second = Node(books), Node(books)
    first.start(first.lease(digest), exchange)
    refused = exchange.end("refused", received=0)
    second.start(second.lease(digest), exchange)
    first.report(refused)
    second.report(exchange.end("refused", received=0))
    assert only_line(books) == (State.RESERVED, 0)


def test_an_exchange_that_was_refused_is_held_for_when_it_starts_again(books: Books, node: Node) -> None:
    """Otherwise an account could run any number at once, of which it can pay for one."""
    lease = node.lease(customer(books, units=1000, limits=Limits(max_units=1000, overdraft=0)))
    refused = [Exchange(1000) for _ in range(3)]
    for exchange in refused:
        node.start(lease, exchange)
        node.report(exchange.end("refused", received=0))
    assert node.allowance().exchanges == 1
    (left,) = node.start(lease, refused[0]).allowances
    assert left.exchanges == 0
    assert post(books, refused[0].receipt(1000)) == (Outcome.POSTED,)
    assert balance(books) == 0


def test_what_starts_again_is_of_the_account_that_starts_it(books: Books, node: Node) -> None:
    first, second = customer(books, "ann"), customer(books, "bob")
    exchange = Exchange()
    node.start(node.lease(first), exchange)
    node.report(exchange.end("refused", received=0))
    node.start(node.lease(second), exchange)
    post(books, exchange.receipt(7))
    assert (balance(books, "ann"), balance(books, "bob")) == (10_000_000, 10_000_000 - 7)


def test_what_one_account_has_no_room_for_is_held_for_by_the_next(books: Books, node: Node) -> None:
    """Otherwise a poor account would keep another's exchanges from being charged."""
    limits = Limits(max_units=1000, overdraft=0)
    poor = node.lease(customer(books, "ann", units=1, limits=limits))
    exchange = Exchange(1000)
    node.start(poor, exchange)
    node.start(node.lease(customer(books, "bob", units=1000, limits=limits)), exchange)
    node.report(exchange.end("refused", received=0))
    assert post(books, exchange.receipt(1000)) == (Outcome.POSTED,)
    assert (balance(books, "ann"), balance(books, "bob")) == (1, 0)


def test_what_starts_again_can_be_refused_again(books: Books, node: Node, exchange: Exchange) -> None:
    lease = node.lease(second_token(books))
    for _ in range(2):
        node.report(exchange.end("refused", received=0))
        assert only_line(books) == (State.LAPSED, 0)
        node.start(lease, exchange)
        assert only_line(books) == (State.RESERVED, 0)


def test_what_is_settled_does_not_start_again(books: Books, node: Node, exchange: Exchange) -> None:
    post(books, exchange.receipt(5))
    node.start(node.lease(second_token(books)), exchange)
    assert only_line(books) == (State.POSTED, 5)


def test_the_last_stream_decides_how_long_units_are_held(books: Books, node: Node) -> None:
    lease, exchange = node.lease(customer(books)), Exchange(deadline=60)
    node.start(lease, exchange)
    exchange.deadline = 600
    node.start(lease, exchange, now=NOW + 170)
    exchange.deadline = 1
    node.start(lease, exchange, now=NOW + 170)
    books.tidy(NOW + 170 + 600 + 119)
    assert only_line(books) == (State.RESERVED, 0)
    books.tidy(NOW + 170 + 600 + 120)
    assert only_line(books) == (State.LAPSED, 0)


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


def test_a_line_that_was_rejected_does_nothing_when_it_is_repeated(books: Books, node: Node) -> None:
    lease, unknown, exchange = node.lease(customer(books)), Exchange(), Exchange()
    rejected = (Start("later", unknown.envelope, 600), End(3, "refused", 1, 0))
    assert node.report(*rejected).rejected == 2
    node.start(lease, exchange)
    with books._store.writing() as sql:
        sql.run(
            "INSERT INTO lease (id, account, token, node, expires_at, revoked)"
            " SELECT 'later', account, token, node, expires_at, revoked FROM lease"
        )
    assert books.take_lines(node.name, 1, rejected, NOW).rejected == 0
    assert only_line(books) == (State.RESERVED, 0)


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
    borrowed = Node(books).lease(second_token(books))
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
    books.tidy(NOW + DAY + 120)
    assert only_line(books) == (State.LAPSED, 0)


def test_an_envelope_with_an_old_date_is_held_as_long_as_others(books: Books, node: Node) -> None:
    """A bridge takes one that is five minutes old."""
    node.start(node.lease(customer(books)), Exchange(issued_at=NOW - 300, deadline=60))
    books.tidy(NOW + 60 + 119)
    assert only_line(books) == (State.RESERVED, 0)


def test_a_watermark_goes_by_the_envelope_if_the_bridges_clock_is_ahead(books: Books, node: Node) -> None:
    """The bridge takes it a little longer. What was refused, and closed too early, could run for free."""
    lease, exchange = node.lease(customer(books)), Exchange(issued_at=NOW + 330)
    node.start(lease, exchange)
    node.report(exchange.end("refused", received=0))
    books.close_exchanges(watermark(NOW + 320), NOW + 590)
    node.start(lease, exchange, now=NOW + 595)
    assert post(books, exchange.receipt(5), now=NOW + 600) == (Outcome.POSTED,)


def test_an_absurd_deadline_holds_nothing_for_ever(books: Books, node: Node) -> None:
    node.start(node.lease(customer(books)), Exchange(deadline=(1 << 32) - 1))
    books.tidy(NOW + DAY + 120)
    assert only_line(books) == (State.LAPSED, 0)


def test_an_exchange_of_more_units_than_there_are_is_not_held(books: Books, node: Node) -> None:
    exchange = Exchange(max_units=5 * 10**18)
    node.start(node.lease(customer(books)), exchange)
    assert post(books, exchange.receipt(5 * 10**18)) == (Outcome.WAITING,)
    assert balance(books) == 10_000_000


def test_what_an_allowance_has_room_for_is_held_though_not_for_the_whole_batch(
    books: Books, node: Node
) -> None:
    digest = customer(books, units=1_000, limits=Limits(max_units=1000, overdraft=0))
    first, second = Exchange(1000), Exchange(1000)
    node.start(node.lease(digest), first, second)
    assert post(books, second.receipt(1000)) == (Outcome.WAITING,)
    assert post(books, first.receipt(1000)) == (Outcome.POSTED,)
    assert balance(books) == 0
