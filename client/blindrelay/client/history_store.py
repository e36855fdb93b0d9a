"""The file in which a client keeps what it was shown of a bridge's keys, from one process to the next.

Several processes may share it: each reads, judges and writes under one lock. Where it cannot be written (no
home, a read-only disk), a client says so once and goes on in memory.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.state_file import (
    ALL_OF_OTHERS,
    NO_FOLLOW,
    WRITING_OF_OTHERS,
    Whose,
    make_folder,
    replace_file,
    whose,
)
from blindrelay.trust import HistoryFormError, KeyHistory, decode_history, encode_history, format_identity
from blindrelay.trust.history_form import MAX_HISTORY_SIZE

if sys.platform != "win32":
    import fcntl

STATE_VARIABLE: Final = "BLINDRELAY_STATE"

_LOCK_SECONDS: Final = 5.0
"""For another process's turn, which takes milliseconds: it may be stopped, and must not stop us."""

_LOCK_STEP: Final = 0.005

_log = logging.getLogger(__name__)


def state_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where this user's clients keep what outlives them; None if this user has no home.

    The folder BLINDRELAY_STATE; or blindrelay in XDG_STATE_HOME, which is ~/.local/state by default.
    """
    if state := environ.get(STATE_VARIABLE):
        return Path(state)
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "blindrelay"
    try:
        return Path.home() / ".local" / "state" / "blindrelay"
    except RuntimeError:
        return None


def default_history_file(identity: bytes, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the history of an identity (32 bytes) is kept: ``history/br1…`` in the state folder, if any."""
    folder = state_folder(environ)
    return None if folder is None else folder / "history" / format_identity(identity)


def open_history(connection: ConnectionConfig) -> HistoryStore:
    """The history that a connection's clients keep. Raises ConfigurationError, as HistoryStore does."""
    if isinstance(connection.history, Path):
        return HistoryStore(connection.identity, connection.history.expanduser())
    path = default_history_file(connection.identity) if connection.history else None
    if connection.history and path is None:
        _log.warning(
            "no home directory: the key history is forgotten when this process ends; "
            f"set {STATE_VARIABLE} or use history=off"
        )
    return HistoryStore(connection.identity, path, private_folder=True)


class HistoryStore:
    """A key history, and the file that it is kept in.

    Args:
        identity: the pinned one, 32 bytes.
        path: the file; None to keep the history in memory.
        private_folder: whether the file's folder has to be closed to others, and not only to their writing.

    Attributes:
        path: None if it is kept in memory, also because the file cannot be written.

    Raises:
        ConfigurationError: the file is damaged, of another identity, of another owner, or open to others.
    """

    def __init__(self, identity: bytes, path: Path | None = None, *, private_folder: bool = False) -> None:
        self.path = path
        self._others = ALL_OF_OTHERS if private_folder else WRITING_OF_OTHERS
        self._history = KeyHistory(identity)
        self._version: tuple[int, ...] | None = None
        self._read()

    @classmethod
    def holding(cls, history: KeyHistory) -> HistoryStore:
        """Somebody's history, in memory."""
        store = cls(history.identity)
        store._history = history
        return store

    @property
    def history(self) -> KeyHistory:
        """What is known now, to be looked at."""
        return self._history

    @contextmanager
    def transaction(self) -> Iterator[KeyHistory]:
        """The history as all processes know it; what is changed in it is written when the block ends.

        Raises ConfigurationError if the file is damaged or open to others by now.
        """
        lock = self._lock()
        try:
            self._read()
            try:
                yield self._history
            finally:
                if self._history.directories.changed:
                    self._write()
        finally:
            if lock is not None:
                _unlock(lock)

    def _read(self) -> None:
        """Takes over what is in the file, if it is not what was last read or written here."""
        if self.path is None:
            return
        try:
            _check_ours(self.path.parent, stat.S_ISDIR, self._others)
            _check_ours(self.path, stat.S_ISREG, ALL_OF_OTHERS)
            with self.path.open("rb") as file:
                version = _version(os.fstat(file.fileno()))
                encoded = None if version == self._version else file.read(MAX_HISTORY_SIZE + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            self._go_on_in_memory(error)
            return
        if encoded is not None:
            self._take(encoded, self.path)
            self._version = version

    def _take(self, encoded: bytes, path: Path) -> None:
        try:
            history = decode_history(encoded.decode())
            if history.identity != self._history.identity:
                raise HistoryFormError("it is of another identity")
        except (UnicodeDecodeError, HistoryFormError) as error:
            reason = "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
            raise ConfigurationError(
                f"the key history {path} cannot be used: {reason}. Restore it from a copy; or move it away "
                "to begin anew, without what it knew of the bridge's keys"
            ) from None
        history.directories.continue_from(self._history.directories)
        self._history = history

    def _write(self) -> None:
        if self.path is None:
            return
        try:
            self._version = _version(replace_file(self.path, encode_history(self._history).encode()))
        except OSError as error:
            self._go_on_in_memory(error)
        else:
            self._history.directories.changed = False

    def _lock(self) -> int | None:
        """The lock file's descriptor, locked; None if nothing is shared."""
        if self.path is None:
            return None
        try:
            make_folder(self.path.parent)
            _check_ours(self.path.parent, stat.S_ISDIR, self._others)
            file = self.path.with_name(self.path.name + ".lock")
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o600)
            try:
                _wait_for(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            self._go_on_in_memory(error)
            return None
        return descriptor

    def _go_on_in_memory(self, error: OSError) -> None:
        path, self.path = self.path, None
        if path not in _told:
            _told.add(path)
            _log.warning(
                "the key history cannot be kept in %s (%s): it is forgotten when this process ends",
                path,
                error.strerror or error,
            )


_told: set[Path | None] = set()
"""The files of which was said, once for a process, that they cannot be kept."""


def _check_ours(path: Path, is_kind: Callable[[int], bool], others: int) -> None:
    """Raises ConfigurationError for what somebody else could have written, FileNotFoundError, OSError."""
    match whose(path.lstat(), is_kind, others):
        case Whose.OF_NO_SUCH_KIND:
            fault = "is a link, or not a file in a folder"
        case Whose.ANOTHER_USERS:
            fault = "belongs to another user: give history=FILE or off"
        case Whose.OPEN_TO_OTHERS:
            letters = "go-rwx" if others == ALL_OF_OTHERS else "go-w"
            fault = f"is open to others: chmod {letters} {path}"
        case Whose.OURS:
            return
    raise ConfigurationError(f"the key history: {path} {fault}")


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _wait_for(descriptor: int) -> None:
    """Raises TimeoutError, an OSError, if it stays locked."""
    if sys.platform == "win32":
        return
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process has it locked") from None
            time.sleep(_LOCK_STEP)
        else:
            return


def _unlock(descriptor: int) -> None:
    # Not by closing alone: a process that was forked meanwhile still has the descriptor open.
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
