"""The threat model lists every column of the books, and none besides."""

from __future__ import annotations

import re
from pathlib import Path

from blindrelay.ledger.books import Books
from blindrelay.ledger.books.store import SqliteStore

MODEL = Path(__file__).parents[2] / "spec/threat-model.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| ((?:`[a-z_]+` ?)+) \|", re.MULTILINE)


def test_the_threat_model_lists_what_the_books_keep(path: Path) -> None:
    with Books(path):
        store = SqliteStore(path)
    with store.reading() as sql:
        tables = [row["name"] for row in sql.all("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = {
            table: [row["name"] for row in sql.all(f"SELECT name FROM pragma_table_info('{table}')")]
            for table in tables
        }
    store.close()
    listed = {
        table: re.findall("[a-z_]+", columns) for table, columns in ROW.findall(MODEL.read_text("utf-8"))
    }
    assert listed == kept
