"""A ledger of this release on the books of the next one, which another ledger has brought up to date."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.ledger.books import Books, Outcome
from blindrelay.ledger.books.copying import TABLES
from blindrelay.ledger.books.schema import Migration, migrate, migrations

from .trading import NOW, Exchange, Node, balance, customer, post, sound, watermark

NEWEST = migrations()[-1].version
NEXT = Migration(
    NEWEST + 1,
    NEWEST,
    (
        *(f"ALTER TABLE {table} ADD COLUMN later INTEGER NOT NULL DEFAULT 7" for table in TABLES),
        "CREATE TABLE later (id INTEGER PRIMARY KEY, account INTEGER REFERENCES account (id))",
        "CREATE INDEX account_later ON account (later)",
    ),
)
"""All that a release may do that the one before shall survive: columns with a default, tables, indexes."""


@pytest.fixture
def updated(books: Books) -> Iterator[Books]:
    """Open already when the next release comes."""
    customer(books, "earlier")
    with books._store.writing() as sql:
        migrate(sql, (*migrations(), NEXT))
    yield books
    with books._store.reading() as sql:
        assert {row["later"] for table in TABLES for row in sql.all(f"SELECT later FROM {table}")} == {7}


def test_open_ledger_goes_on_with_the_next_schema(updated: Books) -> None:
    """It admits, charges, refuses and reports as before, and the rows that it writes have the defaults."""
    node, exchange, lost = Node(updated), Exchange(), Exchange()
    digest = customer(updated, units=1_000)
    node.start(node.lease(digest), exchange, lost)
    node.report(exchange.end(), lost.end("bridge_unavailable"))
    assert post(updated, exchange.receipt(400), Exchange().receipt(5)) == (Outcome.POSTED, Outcome.ORPHAN)
    updated.close_exchanges(watermark(NOW + 1), NOW + 2)
    assert balance(updated) == 600
    assert updated.lease(digest, node.name, NOW)
    sound(updated)


def test_ledger_that_starts_on_the_next_schema_works(updated: Books, place: str) -> None:
    with Books(place) as second:
        customer(second, "later", units=9)
        assert balance(updated, "later") == 9
