"""Only one ledger serves a SQLite file: two would give away each other's allowances."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindrelay.serving import ConfigError, StartError


@contextmanager
def only_ledger(books: Path) -> Iterator[None]:
    """Holds a lock beside the books. It ends with the process, however that ends.

    Raises StartError if another ledger serves them, ConfigError if the lock file cannot be made.
    """
    path = books.with_name(f"{books.name}.lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the lock file cannot be made ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StartError(f"another ledger serves {books}: stop it first") from None
    finally:
        os.close(lock)
