"""A batch of rows arrives as it was given, on each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.ledger.books import Books, BooksError
from blindrelay.ledger.books.set_statement import SetStatement

from .trading import customer

GIVEN = SetStatement("number INTEGER, name TEXT, body BLOB", "SELECT number, name, body FROM given")
COUNT = SetStatement(
    "account INTEGER, units INTEGER",
    "UPDATE account SET balance = balance + given.units FROM given WHERE id = given.account",
)
RETURNING = SetStatement(COUNT.columns, f"{COUNT.text} RETURNING balance")

ROWS = [
    (0, "", b""),
    (-1, "a name", b"\x00"),
    ((1 << 63) - 1, 'ü 中 \N{GRINNING FACE} {"\\', bytes(range(256)) * 300),
    (-(1 << 63), "NULL", b"NULL"),
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS * 500], ids=["few", "one", "many"])
def test_every_value_arrives(place: Path | str, rows: list[tuple[int, str, bytes]]) -> None:
    with Books(place) as books, books._store.writing() as sql:
        for _ in range(2):
            found = sql.for_all(GIVEN, rows)
            assert sorted((row["number"], row["name"], bytes(row["body"])) for row in found) == sorted(rows)


def test_no_rows_are_no_statement(books: Books) -> None:
    with books._store.writing() as sql:
        assert sql.for_all(SetStatement("number INTEGER", "not a statement"), []) == []


def test_rows_of_an_earlier_batch_are_gone(books: Books) -> None:
    for name in ("ann", "bob", "eve"):
        customer(books, name, units=10)
    with books._store.writing() as sql:
        numbers = [row["id"] for row in sql.all("SELECT id FROM account ORDER BY name")]
        sql.for_all(COUNT, [(numbers[0], 5), (numbers[1], 6)])
        (changed,) = sql.for_all(RETURNING, [(numbers[2], 7)])
        assert changed["balance"] == 17
        assert [row["balance"] for row in sql.all("SELECT balance FROM account ORDER BY name")] == [
            15,
            16,
            17,
        ]
        sql.for_all(COUNT, [(number, -each) for number, each in zip(numbers, (5, 6, 7), strict=True)])


def test_a_batch_can_be_given_after_one_that_was_rolled_back(books: Books) -> None:
    customer(books, units=10)
    with books._store.reading() as sql:
        number = sql.all("SELECT id FROM account")[0]["id"]
    for _ in range(2):
        with pytest.raises(BooksError, match=r"(?i)check"), books._store.writing() as sql:
            sql.for_all(RETURNING, [(number, -(10**12))])
        with books._store.writing() as sql:
            assert sql.for_all(RETURNING, [(number, 0)])[0]["balance"] == 10
