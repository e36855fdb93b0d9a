"""The SQLite file under the books: one writer, one reader, clear errors.

Statements are written once for every engine: `:name` for values, RETURNING and ON CONFLICT, nothing that only
SQLite has. What only SQLite needs is in this file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from blindrelay.ledger.books.errors import BooksError
from blindrelay.ledger.books.set_statement import Batch, Rows, SetStatement

Value = int | float | str | bytes | None

BUSY_SECONDS: Final = 10.0
"""Seconds to wait for another process's transaction. Ours take milliseconds."""

_NETWORK: Final = frozenset(
    (
        *(
            "9p",
            "afs",
            "ceph",
            "cifs",
            "coda",
            "fuse.glusterfs",
            "fuse.s3fs",
            "fuse.sshfs",
            "gfs2",
            "glusterfs",
        ),
        *("lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smb3", "smbfs"),
    )
)
"""Types of file systems that machines share: locks and shared memory are not reliable there."""

_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    # A receipt is acknowledged after the commit, so the commit has to survive a power failure.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # The batch of a SetStatement is a temporary table.
    "PRAGMA temp_store = MEMORY",
)


class Row(Protocol):
    """A row of a result."""

    def __getitem__(self, column: str) -> Any: ...


class Statements(Protocol):
    """Runs statements within one transaction."""

    def run(self, statement: str, **values: Value) -> None: ...

    def define(self, statement: str) -> None:
        """Changes the schema. INTEGER stands for 64 bits, BLOB for bytes."""

    def one(self, statement: str, **values: Value) -> Row | None: ...

    def all(self, statement: str, **values: Value) -> list[Any]: ...

    def run_each(self, statement: str, rows: Sequence[Mapping[str, Value]]) -> None:
        """Runs a statement for one row of values after the other."""

    def for_all(self, statement: SetStatement, rows: Rows, **values: Value) -> list[Any]:
        """Runs a statement once, for all rows together, if there are any."""

    def together(self, *batches: Batch, **values: Value) -> list[list[Any]]:
        """Runs several, one after the other, and returns the rows of each. They are sent at once."""

    def stream(self, statement: str, size: int) -> Iterator[list[Any]]:
        """The rows of a large result, that many at once."""

    def number_on(self, table: str, column: str) -> None:
        """Numbers the next rows from there, after rows were added with their numbers."""


class Store(Protocol):
    """A database, or a file.

    Attributes:
        engine: what migrations call it.
    """

    engine: str

    def writing(self) -> AbstractContextManager[Statements]:
        """One transaction of the only writer: all of it or, if the block raises, nothing."""

    def reading(self) -> AbstractContextManager[Statements]:
        """One view of the books that no writer changes."""

    def elected(self, task: str) -> bool:
        """Whether this process is the one that does the task now. It asks again every few seconds."""

    def resign(self, task: str) -> None:
        """Leaves the task to another process."""

    def close(self) -> None:
        """Closes the store, after the transactions that run."""


class SqliteStatements:
    """Statements on a SQLite connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, statement: str, **values: Value) -> None:
        self._connection.execute(statement, values)

    def define(self, statement: str) -> None:
        self._connection.execute(statement)

    def one(self, statement: str, **values: Value) -> Row | None:
        rows = self.all(statement, **values)
        return rows[0] if rows else None

    def all(self, statement: str, **values: Value) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def run_each(self, statement: str, rows: Sequence[Mapping[str, Value]]) -> None:
        self._connection.executemany(statement, rows)

    def for_all(self, statement: SetStatement, rows: Rows, **values: Value) -> list[Any]:
        if not rows:
            return []
        create, empty, fill, text = _with_given(statement)
        self._connection.execute(create)
        self._connection.execute(empty)
        self._connection.executemany(fill, rows)
        return self._connection.execute(text, values).fetchall()

    def together(self, *batches: Batch, **values: Value) -> list[list[Any]]:
        return [self.for_all(batch.statement, batch.rows, **values) for batch in batches]

    def stream(self, statement: str, size: int) -> Iterator[list[Any]]:
        cursor = self._connection.execute(statement)
        return iter(lambda: cursor.fetchmany(size), [])

    def number_on(self, table: str, column: str) -> None:
        """SQLite takes the next number by itself."""


class SqliteStore:
    """One SQLite file in WAL mode. Any thread may use it, and several processes may open it."""

    engine = "sqlite"

    def __init__(self, path: Path) -> None:
        """Opens the file and makes it (0600) if need be. Raises BooksError."""
        self._path = path
        self._process = os.getpid()
        self._locks = {"writer": threading.Lock(), "reader": threading.Lock()}
        _refuse_network(path)
        with _errors(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._writer, self._reader = _connect(path), _connect(path)

    def close(self) -> None:
        """Closes the file, after the transactions that run."""
        with self._locks["writer"], self._locks["reader"]:
            self._writer.close()
            self._reader.close()

    def elected(self, task: str) -> bool:
        """Always True: only one ledger serves a file."""
        return True

    def resign(self, task: str) -> None:
        """Nothing to do."""

    @contextmanager
    def writing(self) -> Iterator[Statements]:
        """One transaction: all of it is in the file afterwards, or nothing if the block raises."""
        with self._locks["writer"], self._transaction(self._writer, "IMMEDIATE") as statements:
            yield statements

    @contextmanager
    def reading(self) -> Iterator[Statements]:
        """One view of the books that no writer changes. It keeps no writer waiting."""
        with self._locks["reader"], self._transaction(self._reader, "DEFERRED") as statements:
            yield statements

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection, kind: str) -> Iterator[Statements]:
        if os.getpid() != self._process:
            raise BooksError(f"{self._path}: the books were opened before a fork: open them again")
        with _errors(self._path):
            connection.execute(f"BEGIN {kind}")
            try:
                yield SqliteStatements(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


@lru_cache(maxsize=256)
def _with_given(statement: SetStatement) -> tuple[str, str, str, str]:
    """Creates, empties and fills the table of the batch, and then runs the statement."""
    table = "temp.given_" + "_".join(statement.types)
    places = ", ".join("?" * len(statement.types))
    return (
        f"CREATE TEMP TABLE IF NOT EXISTS {table.removeprefix('temp.')} ({statement.columns})",
        f"DELETE FROM {table}",  # noqa: S608
        f"INSERT INTO {table} VALUES ({places})",  # noqa: S608
        f"WITH given AS (SELECT * FROM {table}) {statement.text}",  # noqa: S608
    )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise BooksError(f"{path}: the books cannot be used: {error}") from error


def _refuse_network(path: Path) -> None:
    kind = file_system(path.absolute().parent, Path("/proc/self/mountinfo"))
    if kind in _NETWORK:
        raise BooksError(
            f"{path}: the books cannot be on a network file system ({kind}): use a disk of this machine"
        )


def file_system(folder: Path, mounts: Path) -> str:
    """The type of the file system that a folder is on, by a file like /proc/self/mountinfo (proc(5)).

    Empty where there is no such file.
    """
    if not mounts.exists():
        return ""
    places: dict[str, str] = {}
    for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        places[before.split()[4].encode().decode("unicode_escape")] = after.split()[0]
    resolved = folder.resolve()
    return next((places[str(at)] for at in (resolved, *resolved.parents) if str(at) in places), "")
