"""Where the client keeps its files, who may have written them, and the lock that processes share."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import fcntl

NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)

ALL_OF_OTHERS: Final = 0o077
WRITING_OF_OTHERS: Final = 0o022

LOCK_SECONDS: Final = 5.0
"""How long a process waits for another one. Its turn takes milliseconds, but it may be stopped."""

_LOCK_STEP: Final = 0.005


def user_folder(variable: str, default: str, environ: Mapping[str, str]) -> Path | None:
    """The folder `blindrelay` in $variable or ~/default (XDG Base Directory Specification).

    Returns None if the variable is not set and the user has no home directory.
    """
    try:
        base = Path(environ.get(variable) or Path.home() / default)
    except RuntimeError:
        return None
    return base / "blindrelay"


class Whose(Enum):
    """Who could have written the file at a path."""

    OURS = auto()
    OF_NO_SUCH_KIND = auto()
    """A link, a device, or a folder instead of a file."""
    ANOTHER_USERS = auto()
    OPEN_TO_OTHERS = auto()


def whose(
    status: os.stat_result, is_kind: Callable[[int], bool] = stat.S_ISREG, others: int = ALL_OF_OTHERS
) -> Whose:
    """Judges a file, or a folder with S_ISDIR. `others` are the mode bits that nobody else may have."""
    if not is_kind(status.st_mode):
        return Whose.OF_NO_SUCH_KIND
    if sys.platform == "win32":
        return Whose.OURS
    if status.st_uid != os.geteuid():
        return Whose.ANOTHER_USERS
    return Whose.OPEN_TO_OTHERS if status.st_mode & others else Whose.OURS


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Locks a file, which is created if needed, against other processes. On Windows it does not.

    Raises OSError, and TimeoutError if the file stays locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o600)
    try:
        _wait_for(descriptor)
        yield
    finally:
        # Closing is not enough: a child that was forked meanwhile has the descriptor open, too.
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _wait_for(descriptor: int) -> None:
    if sys.platform == "win32":
        return
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process has it locked") from None
            time.sleep(_LOCK_STEP)
        else:
            return
