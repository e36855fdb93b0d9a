"""Receipts, watermarks and time: what settles an exchange, and what does not."""

from __future__ import annotations

import pytest

from blindrelay.ledger.books import Books, Limits, Outcome, State, settlement

from .trading import (
    BRIDGE,
    BY,
    NOW,
    Exchange,
    Node,
    balance,
    customer,
    only_line,
    post,
    watermark,
)

DAY = 86_400
LAPSED = NOW + 600 + 120
"""When an exchange of a deadline of 600 s lapses."""


def test_a_receipt_charges_its_units_once(books: Books, exchange: Exchange) -> None:
    assert only_line(books) == (State.RESERVED, 0)
    receipt = exchange.receipt(250)
    assert post(books, receipt, receipt) == (Outcome.POSTED, Outcome.REPEATED)
    assert post(books, receipt) == (Outcome.REPEATED,)
    assert (only_line(books), balance(books)) == ((State.POSTED, 250), 10_000_000 - 250)
    assert books.account("ann").outstanding == 0


def test_a_receipt_of_no_units_settles_too(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(0)) == (Outcome.POSTED,)
    assert (only_line(books), balance(books)) == ((State.POSTED, 0), 10_000_000)


def test_what_was_not_started_is_not_charged(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(0, started=False)) == (Outcome.VOIDED,)
    assert (only_line(books), balance(books)) == ((State.VOIDED, 0), 10_000_000)


def test_what_was_not_started_cannot_cost_anything(books: Books, exchange: Exchange) -> None:
    assert post(books, exchange.receipt(1, started=False)) == (Outcome.EXCESS,)
    assert (only_line(books), balance(books)) == ((State.RESERVED, 0), 10_000_000)


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


def test_a_watermark_voids_what_was_never_claimed(books: Books, node: Node, exchange: Exchange) -> None:
    assert books.close_exchanges(watermark(NOW), NOW) == frozenset()
    assert only_line(books) == (State.RESERVED, 0)
    assert books.close_exchanges(watermark(NOW + 10), NOW) == {books.account("ann").pseudonym}
    assert only_line(books) == (State.VOIDED, 0)
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
    assert only_line(books) == (State.VOIDED, 0)


def test_an_exchange_lapses_when_its_time_is_over(books: Books, exchange: Exchange) -> None:
    held = books.account("ann").outstanding
    assert held == 1
    books.tidy(LAPSED - 1)
    assert only_line(books) == (State.RESERVED, 0)
    assert books.tidy(LAPSED) == {books.account("ann").pseudonym}
    assert only_line(books) == (State.LAPSED, 0)
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


def test_an_account_without_room_does_not_hold_up_the_others(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "_WAITING_AT_ONCE", 1)
    node = Node(books)
    for name in ("ann", "bob"):
        digest = customer(books, name, units=1_000, limits=Limits(max_units=1000, overdraft=0))
        late, running = Exchange(1000), Exchange(1000, issued_at=LAPSED)
        node.start(node.lease(digest), late)
        books.tidy(LAPSED)
        node.start(node.lease(digest, LAPSED), running, now=LAPSED)
        assert post(books, late.receipt(800), now=LAPSED) == (Outcome.WAITING,)
    books.credit("bob", 1_000, "more", by=BY, now=LAPSED)
    books.tidy(LAPSED + 1)
    assert (balance(books, "ann"), balance(books, "bob")) == (1_000, 1_200)


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


def test_of_several_receipts_of_a_batch_the_first_that_fits_settles(books: Books, exchange: Exchange) -> None:
    excess, fits, second = exchange.receipt(1_000_001), exchange.receipt(5), exchange.receipt(6)
    assert post(books, excess, fits, second) == (Outcome.EXCESS, Outcome.POSTED, Outcome.CONTRADICTION)
    assert balance(books) == 10_000_000 - 5


def test_what_has_room_is_charged_though_not_the_whole_batch_has(books: Books, node: Node) -> None:
    digest = customer(books, units=1_000, limits=Limits(max_units=1000, overdraft=0))
    first, second = Exchange(1000), Exchange(1000)
    node.start(node.lease(digest), first, second)
    assert post(books, first.receipt(600), second.receipt(600)) == (Outcome.POSTED, Outcome.WAITING)
    assert balance(books) == 400
