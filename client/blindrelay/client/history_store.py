"""The file in which a client keeps the key history of a bridge from one process to the next.

Several processes may share the file: each reads, judges and writes it under one lock. If it cannot be written
(no home directory, a read-only disk), the client warns once and keeps the history in memory.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.errors import ConfigurationError
from blindrelay.client.state_file import (
    ALL_OF_OTHERS,
    WRITING_OF_OTHERS,
    Whose,
    locked,
    user_folder,
    whose,
)
from blindrelay.trust import HistoryFormError, KeyHistory, decode_history, encode_history, format_identity
from blindrelay.trust.history_form import MAX_HISTORY_SIZE
from blindrelay.v1.private_file import make_folder, replace_file

STATE_VARIABLE: Final = "BLINDRELAY_STATE"

_log = logging.getLogger(__name__)


def state_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for this user's state, or None if the user has no home directory.

    It is BLINDRELAY_STATE, or else `blindrelay` in XDG_STATE_HOME, which is ~/.local/state by default.
    """
    if state := environ.get(STATE_VARIABLE):
        return Path(state)
    return user_folder("XDG_STATE_HOME", ".local/state", environ)


def default_history_file(identity: bytes, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The history file of an identity (32 bytes): ``history/br1…`` in the state folder, if there is one."""
    folder = state_folder(environ)
    return None if folder is None else folder / "history" / format_identity(identity)


def open_history(config: ConnectionConfig) -> HistoryStore:
    """The history that a connection's clients keep. Raises ConfigurationError as HistoryStore does."""
    if isinstance(config.history, Path):
        return HistoryStore(config.identity, config.history.expanduser())
    path = default_history_file(config.identity) if config.history else None
    if config.history and path is None:
        _log.warning(
            "no home directory: the key history is lost when this process ends; "
            f"set {STATE_VARIABLE} or use history=off"
        )
    return HistoryStore(config.identity, path, private_folder=True)


class HistoryStore:
    """A key history and its file.

    Args:
        identity: the pinned identity, 32 bytes.
        path: the file; None keeps the history in memory.
        private_folder: whether others may not even read the file's folder.

    Attributes:
        path: None if the history is kept in memory, also because the file cannot be written.

    Raises:
        ConfigurationError: the file is damaged, has another identity or owner, or is open to others.
    """

    def __init__(self, identity: bytes, path: Path | None = None, *, private_folder: bool = False) -> None:
        self.path = path
        self._others = ALL_OF_OTHERS if private_folder else WRITING_OF_OTHERS
        self._history = KeyHistory(identity)
        self._version: tuple[int, ...] | None = None
        self._read()

    @classmethod
    def holding(cls, history: KeyHistory) -> HistoryStore:
        """A store with a given history, in memory."""
        store = cls(history.identity)
        store._history = history
        return store

    @property
    def history(self) -> KeyHistory:
        """The history as it was last read or changed here, for reading only."""
        return self._history

    @contextmanager
    def transaction(self) -> Iterator[KeyHistory]:
        """Reads the history under the lock, and writes what the block has changed in it.

        Raises ConfigurationError if the file is damaged or open to others by now.
        """
        with ExitStack() as stack:
            self._lock(stack)
            self._read()
            try:
                yield self._history
            finally:
                if self._history.directories.changed:
                    self._write()

    def _read(self) -> None:
        """Reads the file if it has changed since it was last read or written here."""
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
                f"the key history {path} cannot be used: {reason}. Restore it from a copy, or move it away: "
                "then what it knew of the bridge's keys is lost"
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

    def _lock(self, stack: ExitStack) -> None:
        if self.path is None:
            return
        try:
            make_folder(self.path.parent)
            _check_ours(self.path.parent, stat.S_ISDIR, self._others)
            stack.enter_context(locked(self.path.with_name(self.path.name + ".lock")))
        except OSError as error:
            self._go_on_in_memory(error)

    def _go_on_in_memory(self, error: OSError) -> None:
        path, self.path = self.path, None
        if path not in _warned_of:
            _warned_of.add(path)
            _log.warning(
                "the key history cannot be kept in %s (%s): it is lost when this process ends",
                path,
                error.strerror or error,
            )


_warned_of: set[Path | None] = set()
"""Files that cannot be written. A process warns of each once."""


def _check_ours(path: Path, is_kind: Callable[[int], bool], others: int) -> None:
    """Raises ConfigurationError if somebody else could have written the file; also OSError."""
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
