"""A connection to PostgreSQL that is made again after it was lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from blindrelay.ledger.books.columns import register_columns
from blindrelay.ledger.books.errors import BooksError, BusyError
from blindrelay.ledger.books.store import BUSY_SECONDS
from blindrelay.v1.extras import needs_extra

if TYPE_CHECKING:
    import psycopg

    Connection: TypeAlias = psycopg.Connection[dict[str, Any]]

LOCK: Final = 0x626C696E64
"""Names the writer's lock among the advisory locks of a database."""

UNLOCK: Final = f"SELECT pg_advisory_unlock({LOCK})"

_OPTIONS: Final = " ".join(
    (
        f"-c lock_timeout={int(BUSY_SECONDS * 1000)}",
        # A reader that hangs would keep the server from removing old rows. Writers have less time.
        "-c idle_in_transaction_session_timeout=60000",
        # A receipt is acknowledged after the commit, so the commit has to survive a power failure.
        "-c synchronous_commit=on",
    )
)


class Link:
    """One connection, for one transaction at a time: take its lock first."""

    def __init__(self, url: str) -> None:
        self.lock = threading.Lock()
        self._url = url
        self._connection: Connection | None = None
        self._closed = False

    def connected(self) -> Connection:
        """Connected, with no transaction. Raises psycopg.Error, and BooksError if the books were closed."""
        if self._closed:
            raise BooksError("the books are closed")
        if self._connection is None or self._connection.closed:
            self._connection = _connect(self._url)
        return self._connection

    def roll_back(self) -> None:
        """Gives up the transaction and the lock, or drops the connection: then the server does."""
        import psycopg

        try:
            if self._connection is not None:
                self._connection.execute(b"ROLLBACK")
                self._connection.execute(UNLOCK)
        except psycopg.Error:
            self.drop()

    def close(self) -> None:
        with self.lock:
            self._closed = True
            self.drop()

    def drop(self) -> None:
        """Disconnects. The next use connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(url: str) -> Connection:
    with needs_extra("postgresql"):
        import psycopg
        from psycopg.rows import dict_row
    connection: Connection = psycopg.connect(
        url,
        autocommit=True,
        row_factory=dict_row,
        prepare_threshold=1,
        application_name="blindrelay-ledger",
        options=_options(url),
    )
    register_columns(connection)
    return connection


def _options(url: str) -> str:
    """Ours, and after them those of the operator."""
    from psycopg.conninfo import conninfo_to_dict

    return f"{_OPTIONS} {conninfo_to_dict(url).get('options') or ''}".strip()


def end_batch(connection: Connection, pipeline: psycopg.Pipeline) -> None:
    """Sends the statements of a pipeline, and waits for their results.

    After a Sync, the server counts how long the transaction is idle, until the next message. The end of a
    pipeline would send a Flush after its Sync. And sync() alone may wait for results before it has sent all
    of a large batch, so the rest of it is sent first.
    """
    from psycopg.generators import send

    connection.wait(send(connection.pgconn))
    pipeline.sync()


@contextmanager
def errors() -> Iterator[None]:
    """Raises BusyError for a lock that others do not give up, BooksError for all else that fails."""
    with needs_extra("postgresql"):
        import psycopg
    try:
        yield
    except psycopg.Error as error:
        # The first line alone: what follows may quote a row.
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        busy = isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected)
        raise (BusyError if busy else BooksError)(f"the books cannot be used: {said}") from error
