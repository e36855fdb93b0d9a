"""Files that are this user's alone: the key history, the endpoint's token, profiles and their tokens.

They are written whole or not at all, whenever the machine stops, and have mode 0600 from the beginning.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Final

NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)

ALL_OF_OTHERS: Final = 0o077
WRITING_OF_OTHERS: Final = 0o022
OPEN_TO_OTHERS: Final = 0o027
"""Mode bits that a secret from an administrator may not have: a group may read it, and nobody else."""


class Whose(Enum):
    """Who could have written what is found at a path."""

    OURS = auto()
    OF_NO_SUCH_KIND = auto()
    """A link, a device, a folder where a file is wanted."""
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


def replace_file(path: Path, data: bytes) -> os.stat_result:
    """Puts a new file in the place of whatever is there; the new one's status. Raises OSError."""
    with _draft(path, data) as (draft, status):
        draft.replace(path)
    _sync_folder(path.parent)
    return status


def make_file(path: Path, data: bytes) -> bool:
    """Makes a file that is not there yet; False if it is. Raises OSError."""
    with _draft(path, data) as (draft, _):
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    _sync_folder(path.parent)
    return True


def make_folder(folder: Path) -> None:
    """Makes a folder with mode 0700, and what is above it, unless it is there. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _draft(path: Path, data: bytes) -> Iterator[tuple[Path, os.stat_result]]:
    """The data in a file beside the path, on the disk; it is gone after the block, under that name."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            status = os.fstat(descriptor)
        yield draft, status
    finally:
        draft.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
