"""Opens the store under the books."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Final, Self

from blindrelay.ledger.books.accounts import random_id
from blindrelay.ledger.books.copying import copy_books
from blindrelay.ledger.books.errors import BusyError
from blindrelay.ledger.books.postgresql import PREFIXES, PostgresqlStore
from blindrelay.ledger.books.schema import migrate, migrations
from blindrelay.ledger.books.store import SqliteStore, Store

UPDATE_SECONDS: Final = 30.0
"""How long to wait for those who read the books, if the schema has to change. A supervisor tries again."""

PAUSE_SECONDS: Final = 2.0
"""Between two attempts. Ledgers that serve from the same books go on meanwhile."""


class OpenBooks:
    """What the parts of the books share: the store, and where random bytes come from."""

    def __init__(
        self,
        place: Path | str,
        *,
        random: Callable[[int], bytes] = token_bytes,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """Opens the books and brings their schema up to date. Raises BooksError.

        Args:
            place: a SQLite file, which is made (0600) if need be, or a URL like "postgresql://host/database".
            random: returns so many random bytes.
            on_wait: is called once, if the schema cannot change before a reader of the books has ended.
        """
        self._random = random
        self._store = _store(place)
        try:
            _bring_up_to_date(self._store, on_wait)
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """The books cannot be used afterwards."""
        self._store.close()

    def elected(self, task: str) -> bool:
        """Whether this ledger is the one that does the task now, of several that share the books.

        Ask again every few seconds: a ledger that is killed, or loses its connection, is not elected any
        more. For a moment there can be two. Raises BooksError.
        """
        return self._store.elected(task)

    def resign(self, task: str) -> None:
        """Leaves the task to another ledger. Raises BooksError."""
        self._store.resign(task)

    def copy_to(self, other: OpenBooks) -> dict[str, int]:
        """Copies everything into other books, which are empty. No ledger should serve either meanwhile.

        Returns the rows that were copied, by table.

        Raises InvalidError if they are not empty, BooksError.
        """
        return copy_books(self._store, other._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new_id(self) -> str:
        return random_id(self._random)


def _bring_up_to_date(store: Store, on_wait: Callable[[], None]) -> None:
    """Changes the schema as this release needs it. Raises BooksError."""
    deadline = time.monotonic() + UPDATE_SECONDS
    for attempt in count():
        try:
            with store.writing() as sql:
                migrate(sql, migrations(store.engine))
            return
        except BusyError as error:
            if time.monotonic() >= deadline:
                raise BusyError(
                    "the books cannot be brought up to date for this release: another session has been using "
                    f"them for {UPDATE_SECONDS:.0f} seconds, such as pg_dump or a long report. "
                    "Wait until it ends, or end it, and start again"
                ) from error
        if attempt == 0:
            on_wait()
        time.sleep(PAUSE_SECONDS)


def _store(place: Path | str) -> Store:
    if isinstance(place, str) and place.startswith(PREFIXES):
        return PostgresqlStore(place)
    return SqliteStore(Path(place))
