"""Numbered migrations, and which programs may use what they make.

A change of the schema takes three releases: the first adds what is new, the second uses it, the third
removes what was old. So each release works on the schema of the next. `-- compatible: N` at the top of a
migration names the oldest program that works on what it makes, by the newest migration of that program.
What only one engine has is in a second file: 0002.postgresql.sql goes with 0002.sql.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from blindrelay.ledger.books.errors import BooksError
from blindrelay.ledger.books.store import Statements

_FOLDER = files(__package__) / "migrations"
_COMPATIBLE = re.compile(r"-- compatible: (\d+)\n")
_STATEMENT_END = re.compile(r";\n")


@dataclass(frozen=True)
class Migration:
    """One .sql file.

    Attributes:
        compatible: the oldest version whose program works on the schema that this makes.
    """

    version: int
    compatible: int
    statements: tuple[str, ...]


def migrations(engine: str = "") -> tuple[Migration, ...]:
    """All migrations, oldest first, with what an engine has of its own."""
    texts = {path.name: path.read_text("utf-8") for path in _FOLDER.iterdir() if path.name.endswith(".sql")}
    numbers = sorted(name.removesuffix(".sql") for name in texts if name.count(".") == 1)
    return tuple(
        _migration(int(number), texts[f"{number}.sql"] + texts.get(f"{number}.{engine}.sql", ""))
        for number in numbers
    )


def migrate(sql: Statements, known: tuple[Migration, ...]) -> None:
    """Brings the books to the newest of the known migrations. Raises BooksError if they are too new."""
    sql.define(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, compatible INTEGER NOT NULL)"
    )
    row = sql.one("SELECT version, compatible FROM schema_version")
    if row is None:
        sql.run("INSERT INTO schema_version (version, compatible) VALUES (0, 0)")
    version = row["version"] if row else 0
    newest = known[-1].version
    if row and row["compatible"] > newest:
        raise BooksError(
            f"the books have version {version}, and this program knows {newest}: "
            "install the release that wrote them, or a newer one"
        )
    for migration in (each for each in known if each.version > version):
        for statement in migration.statements:
            sql.define(statement)
        sql.run(
            "UPDATE schema_version SET version = :version, compatible = :compatible",
            version=migration.version,
            compatible=migration.compatible,
        )


def _migration(version: int, text: str) -> Migration:
    header = _COMPATIBLE.match(text)
    if header is None:
        raise BooksError(f"migration {version:04} does not begin with its compatible version")
    return Migration(version, int(header[1]), tuple(_statements(text)))


def _statements(text: str) -> Iterator[str]:
    plain = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("--"))
    return (each.strip() for each in _STATEMENT_END.split(plain) if each.strip())
