"""Copies all books from one store into another, empty one: from SQLite to PostgreSQL, or back."""

from __future__ import annotations

from typing import Any, Final

from blindrelay.ledger.books.errors import InvalidError
from blindrelay.ledger.books.store import Statements, Store

TABLES: Final = (
    *("account", "quota", "token", "lease_key", "lease", "node", "allowance", "signer", "exchange"),
    *("evidence", "transfer", "credit", "voucher", "replica", "price_table", "audit"),
)
"""Each table after those that it refers to."""

NUMBERED: Final = {
    **{"account": "id", "signer": "id", "lease_key": "number", "exchange": "number", "evidence": "number"},
    **{"transfer": "number", "voucher": "number", "audit": "number"},
}
"""The tables whose rows the store numbers, and the column."""

ROWS: Final = 1_000
"""Rows that are read and written together."""


def copy_books(source: Store, target: Store) -> dict[str, int]:
    """Copies every row in one transaction. Returns how many, by table.

    Raises InvalidError if the target has books, BooksError.
    """
    with source.reading() as read, target.writing() as write:
        versions = [_version(sql) for sql in (read, write)]
        if versions[0] != versions[1]:
            raise InvalidError(f"the books have versions {versions[0]} and {versions[1]}: open both first")
        for table in TABLES:
            if write.one(f"SELECT 1 AS found FROM {table} LIMIT 1") is not None:  # noqa: S608
                raise InvalidError("these books are not empty: copy into new ones")
        copied = {table: _copy(read, write, table) for table in TABLES}
        for table, column in NUMBERED.items():
            write.number_on(table, column)
        return copied


def _version(sql: Statements) -> int:
    row: Any = sql.one("SELECT version FROM schema_version")
    version: int = row["version"]
    return version


def _copy(read: Statements, write: Statements, table: str) -> int:
    copied = 0
    rows = read.stream(f"SELECT * FROM {table}", ROWS)  # noqa: S608
    for batch in rows:
        columns = batch[0].keys()
        names, values = ", ".join(columns), ", ".join(f":{column}" for column in columns)
        insert = f"INSERT INTO {table} ({names}) VALUES ({values})"  # noqa: S608
        write.run_each(insert, [{column: row[column] for column in columns} for row in batch])
        copied += len(batch)
    return copied
