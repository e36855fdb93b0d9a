"""Private files: mode 0600, written completely or not at all, even if the machine stops."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

OPEN_TO_OTHERS: Final = 0o027
"""Mode bits that a secret from an administrator may not have. Its group may read it: that is how systemd and
Kubernetes hand a secret to a process without root."""

_NO_SYNC: Final = frozenset({errno.EACCES, errno.EINVAL, errno.ENOTSUP})
"""A folder that may be written but not read, or a file system that cannot sync folders. The file is there."""


def replace_file(path: Path, data: bytes) -> os.stat_result:
    """Writes a file atomically: a reader sees the old file or the new one. Returns the new one's status.

    Raises OSError.
    """
    with _draft(path, data) as (draft, status):
        draft.replace(path)
    _sync_folder(path.parent)
    return status


def make_file(path: Path, data: bytes) -> bool:
    """Writes a new file. An existing one stays as it is, and the result is False. Raises OSError."""
    with _draft(path, data) as (draft, _):
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return False
    _sync_folder(path.parent)
    return True


def make_folder(folder: Path) -> None:
    """Makes a folder (mode 0700) and its parents, unless it exists. Raises OSError."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _draft(path: Path, data: bytes) -> Iterator[tuple[Path, os.stat_result]]:
    """A temporary file beside `path`, with the data synced to disk.

    It is new and its name cannot be predicted, so no file or link of somebody else's is written to.
    """
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
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
