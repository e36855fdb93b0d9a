"""Statements, lines and sums."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books, Day, InvalidError, Outcome, SignedTable, State, reports

from .trading import BRIDGE, BY, NOW, REPLICA, Exchange, Node, customer, post, unique, watermark

MONTH_AGO = NOW - 5 * 86_400
"""In May."""


def test_a_statement_has_the_months_charges_and_credits_and_todays_balance(books: Books) -> None:
    digest = customer(books, units=1_000, now=MONTH_AGO)
    node = Node(books)
    may, june = Exchange(issued_at=MONTH_AGO), Exchange()
    node.start(node.lease(digest, MONTH_AGO), may, now=MONTH_AGO)
    node.start(node.lease(digest), june)
    post(books, may.receipt(100), june.receipt(30))
    books.credit("ann", 50, "June", by=BY, now=NOW)
    present = books.statement("ann", "", NOW)
    assert (present.balance, present.charged, present.overdraft_bound) == (920, 30, 100_000_000)
    assert [(each.units, each.reference) for each in present.credits] == [(50, "June")]
    earlier = books.statement("ann", "2026-05", NOW)
    assert (earlier.balance, earlier.charged, earlier.credits[0].reference) == (920, 100, "opening")
    assert [found.envelope_hash for found in books.lines("ann", "2026-05", NOW)] == [may.hash]
    assert [found.envelope_hash for found in books.lines("ann", "", NOW)] == [june.hash]
    assert len(books.lines("ann", "*", NOW)) == 2


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "june", "0000-01", "*", "9999-12"])
def test_a_month_is_checked(books: Books, month: str) -> None:
    customer(books)
    with pytest.raises(InvalidError, match="YYYY-MM"):
        books.statement("ann", month, NOW)


def test_a_line_has_the_receipt_and_what_proves_it(books: Books) -> None:
    digest = customer(books)
    node, posted, running = Node(books), Exchange(), Exchange()
    node.start(node.lease(digest), posted, running, now=NOW + 59)
    receipt = posted.receipt(7)
    post(books, receipt)
    first, second = books.lines("ann", "", NOW)
    assert (first.at, first.token, first.exchange_id) == (
        NOW,
        books.tokens("ann")[0].name,
        posted.exchange_id,
    )
    assert (first.receipt, first.signature) == (receipt.receipt, receipt.signature)
    assert (first.delegation, first.delegation_signature) == (
        receipt.delegation,
        receipt.delegation_signature,
    )
    assert (second.state, second.units, second.receipt, second.delegation) == (State.RESERVED, 0, b"", b"")


def test_exchanges_of_no_units_have_lines(books: Books) -> None:
    digest = customer(books)
    node, exchanges = Node(books), [Exchange() for _ in range(4)]
    node.start(node.lease(digest), *exchanges)
    node.report(exchanges[0].end("refused", received=0))
    post(books, exchanges[1].receipt(0), exchanges[2].receipt(0, started=False))
    found = books.lines("ann", "", NOW)
    assert [each.state for each in found] == [State.LAPSED, State.POSTED, State.VOIDED, State.RESERVED]
    assert {each.units for each in found} == {0}


def test_lines_come_in_pages_and_of_all_accounts(books: Books) -> None:
    hashes = []
    for name in ("ann", "bob", "cid"):
        node, exchange = Node(books), Exchange()
        node.start(node.lease(customer(books, name)), exchange)
        hashes.append(exchange.hash)
    first = books.lines(None, "", NOW, limit=2)
    second = books.lines(None, "", NOW, after=first[-1].number)
    assert [each.envelope_hash for each in first + second] == hashes
    assert [each.account for each in first + second] == ["ann", "bob", "cid"]


def test_an_accounts_lines_come_in_pages_also_within_a_minute(books: Books) -> None:
    node = Node(books)
    lease, other = node.lease(customer(books)), node.lease(customer(books, "bob"))
    exchanges = [Exchange() for _ in range(7)]
    for exchange, minute in zip(exchanges, (0, 0, 0, 1, 1, 2, 2), strict=True):
        node.start(lease, exchange, now=NOW + minute * 60)
        node.start(other, Exchange(), now=NOW + minute * 60)
    expected, after, found = [each.hash for each in exchanges], 0, []
    while page := books.lines("ann", "", NOW, after=after, limit=2):
        assert len(page) <= 2
        found += [each.envelope_hash for each in page]
        after = page[-1].number
    assert found == expected
    newest = [each.envelope_hash for each in books.newest_lines("ann", "", NOW, limit=3)]
    assert newest == expected[:3:-1]
    assert len(books.newest_lines("ann", "", NOW)) == 7
    assert books.newest_lines("ann", "2026-05", NOW) == ()


@pytest.mark.parametrize("statement", [reports._ACCOUNT_LINES, reports._NEWEST_LINES])
def test_a_page_of_a_statement_sorts_nothing(tmp_path: Path, statement: str) -> None:
    """Or a month of many exchanges would take long to show."""
    path = tmp_path / "ledger.db"
    with Books(path), closing(sqlite3.connect(path)) as connection:
        names = dict.fromkeys(("account", "first", "end", "after", "limit"), 1)
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", names)]
    assert any("exchange_line" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


def test_the_overview_counts_each_day(books: Books) -> None:
    digest = customer(books, units=1_000, now=MONTH_AGO)
    customer(books, "bob", units=10)
    books.update_account("bob", enabled=False, expires_at=None, by=BY, now=NOW)
    node = Node(books)
    old, new = Exchange(issued_at=MONTH_AGO), Exchange()
    node.start(node.lease(digest, MONTH_AGO), old, now=MONTH_AGO)
    node.start(node.lease(digest), new, Exchange())
    post(books, old.receipt(100), new.receipt(30))
    overview = books.overview(NOW + 100, days=3)
    assert (overview.accounts, overview.enabled, overview.balance, overview.open) == (2, 1, 880, 1)
    assert overview.days == (Day("2026-05-30", 0, 0), Day("2026-05-31", 0, 0), Day("2026-06-01", 30, 2))


def test_settlement_shows_what_a_replica_says_and_what_the_books_have(books: Books) -> None:
    digest = customer(books)
    node, first, second = Node(books), Exchange(), Exchange()
    node.start(node.lease(digest), first, second, now=NOW + 61)
    post(books, first.receipt(7), Exchange().receipt(9))
    books.close_exchanges(replace(watermark(NOW), count=3, units=20), NOW)
    found = books.settlement(NOW)
    assert (found.open, found.oldest_open_at, found.lapsed, found.orphans) == (1, NOW + 60, 0, 1)
    (replica,) = found.replicas
    assert (replica.identity, replica.replica_id, replica.closed_before) == (BRIDGE, REPLICA, NOW)
    assert (replica.stated_count, replica.stated_units, replica.count, replica.units) == (3, 20, 2, 16)
    books.tidy(NOW + 781)
    assert books.settlement(NOW + 781).lapsed == 1
    assert books.settlement(NOW + 782 + 7 * 86_400).lapsed == 0


def test_evidence_comes_newest_first(books: Books) -> None:
    receipts = [Exchange().receipt(number) for number in range(3)]
    assert post(books, *receipts) == (Outcome.ORPHAN,) * 3
    newest, *older = books.evidence()
    assert [each.receipt for each in (newest, *older)] == receipts[::-1]
    assert books.evidence(before=newest.number, limit=1) == (older[0],)


def test_a_price_table_is_kept_under_its_hash(books: Books) -> None:
    table = SignedTable(b"table", b"signature", b"delegation", b"proof")
    name = unique(32)
    assert books.price_table(name) is None
    books.add_price_table(name, table, NOW)
    books.add_price_table(name, table, NOW + 1)
    assert books.price_table(name) == table


def test_a_check_names_what_does_not_balance(books: Books) -> None:
    digest = customer(books, units=100)
    node, exchange = Node(books), Exchange()
    node.start(node.lease(digest), exchange)
    post(books, exchange.receipt(10))
    books.add_vouchers([unique(32)], 5, by=BY, now=NOW)
    changes = {
        "UPDATE account SET balance = balance + 1": ("entries add up", "less its exchanges are 90"),
        "UPDATE account SET held = held + 1": ("set aside",),
        "UPDATE exchange SET units = units + 1": ("less its exchanges are 89", "is owed 11"),
        "UPDATE voucher SET units = units + 1": ("open vouchers are worth 6",),
        "UPDATE exchange SET receipt = NULL": ("1 exchanges are charged without a receipt",),
    }
    for statement, expected in changes.items():
        undo = statement.replace("+", "-") if "+" in statement else "UPDATE exchange SET receipt = ''"
        for change, balanced in ((statement, False), (undo, True)):
            with books._store.writing() as sql:
                sql.run(change)
            found = books.check()
            assert found.balanced is balanced
            named = [any(part in each for each in found.problems) for part in expected]
            assert named == [not balanced] * len(expected)
