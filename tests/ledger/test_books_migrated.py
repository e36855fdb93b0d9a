"""Books that an older program made, and older programs on the schema of a newer one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books, Outcome, State, open_books
from blindrelay.ledger.books.schema import migrations

from .trading import NOW, Exchange, Node, balance, customer, post, sound, watermark

STATEMENTS = Path(__file__).parent / "statements"
NEWEST = migrations()[-1].version


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_books_of_an_older_release_go_on(
    place: Path | str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange, lapsed = Exchange(), Exchange(deadline=0)
    with monkeypatch.context() as older:
        older.setattr(open_books, "migrations", lambda engine: migrations(engine)[:version])
        with Books(place) as books:
            node = Node(books)
            node.start(node.lease(customer(books)), exchange, lapsed)
            books.tidy(NOW + 200)
    with Books(place) as books:
        assert post(books, exchange.receipt(7)) == (Outcome.POSTED,)
        books.close_exchanges(watermark(NOW + 10), NOW + 200)
        states = {line.envelope_hash: line.state for line in books.lines("ann", "*", NOW)}
        assert states == {exchange.hash: State.POSTED, lapsed.hash: State.VOIDED}
        assert balance(books) == 10_000_000 - 7
        sound(books)


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_statements_of_an_older_release_fit_the_newest_schema(place: Path | str, version: int) -> None:
    """The release before this one serves while the ledgers are upgraded one by one."""
    text = (STATEMENTS / f"{version:04}.sql").read_text("utf-8")
    statements = [each.strip() for each in re.sub(r"(?m)^--.*\n", "", text).split(";\n") if each.strip()]
    assert len(statements) > 100
    with Books(place) as books, books._store.reading() as sql:
        for statement in statements:
            values = dict.fromkeys(re.findall(r"(?<!:):([a-z_]+)", statement))
            assert sql.all(f"EXPLAIN {statement}", **values), statement


def test_only_postgresql_is_told_how_to_fill_pages() -> None:
    for engine, told in (("sqlite", False), ("postgresql", True)):
        statements = [each for step in migrations(engine) for each in step.statements]
        assert any("fillfactor" in each for each in statements) is told
