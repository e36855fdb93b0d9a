"""Small files: read and written with clear errors, protected if secret, and followed when they change."""

from __future__ import annotations

import math
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from blindrelay.serving.errors import ConfigError
from blindrelay.v1 import private_file

CREDENTIAL_PREFIX: Final = "credential:"
"""Before the name of a file in the credential directory (systemd.exec(5), LoadCredential=)."""

_DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
RETRY_SECONDS: Final = 1.0
"""Seconds between two attempts to read a file that could not be read. The cause may be temporary."""

Version = tuple[tuple[int, ...], ...]
T = TypeVar("T")


def read_bytes(path: Path, what: str) -> bytes:
    """A small file's bytes. Raises ConfigError, in which `what` names the file's purpose."""
    return _read(path, what, forbidden=0)


def read_secret(path: Path, what: str) -> bytes:
    """As read_bytes, for secrets. Raises ConfigError also if others can read or change the file."""
    return _read(path, what, forbidden=private_file.OPEN_TO_OTHERS)


def credential_path(name: str) -> Path:
    """The file of that name in the directory that $CREDENTIALS_DIRECTORY names. Raises ConfigError."""
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise ConfigError(f'"{CREDENTIAL_PREFIX}{name}" does not name a file in the credential directory')
    directory = os.environ.get(_DIRECTORY_VARIABLE)
    if not directory:
        raise ConfigError(
            f'"{CREDENTIAL_PREFIX}{name}" needs {_DIRECTORY_VARIABLE}, which is not set: '
            f"start the process with systemd and LoadCredential={name}:FILE, or give a path"
        )
    path = Path(directory, name)
    if not path.exists():
        # It is never created: for a mistyped name, a bridge would make itself a new identity.
        raise ConfigError(f'"{CREDENTIAL_PREFIX}{name}": {directory} has no such credential')
    return path


def write_new(path: Path, text: str, what: str) -> bool:
    """Writes a new file (0600), completely or not at all. Returns False, and leaves it, if it exists.

    Raises ConfigError if it cannot be written.
    """
    with _config_errors(path, what):
        return private_file.make_file(path, text.encode())


def replace_file(path: Path, text: str, what: str) -> None:
    """Writes a file (0600) atomically: a reader sees the old file or the new one.

    Raises ConfigError if it cannot be written.
    """
    with _config_errors(path, what):
        private_file.replace_file(path, text.encode())


def version(*paths: Path) -> Version:
    """A value that changes whenever one of the files is replaced or written to."""
    return tuple(_version(path) for path in paths)


class Followed(Generic[T]):
    """The contents of files, read again when one of them has changed, and after read_again().

    A version that could not be read is tried again, at most once in RETRY_SECONDS. The process may have been
    out of descriptors or memory for a moment.
    """

    def __init__(
        self,
        version: Callable[[], object],
        read: Callable[[], T],
        clock: Callable[[], float] = time.monotonic,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        """Reads the files for the first time, into `first`. Raises ConfigError, as `read` does.

        read_again() calls `look`, for an owner that wants to load the files at once.
        """
        self._version = version
        self._read = read
        self._clock = clock
        # Taken before the files are read, so that a change in between is noticed the next time.
        self._seen = version()
        self._retry_at = math.inf
        self.first = read()
        self._look = look
        _FOLLOWED.add(self)

    def read_again(self) -> None:
        """Treats the files as changed, even if their version is the same."""
        self._seen = object()
        self._look()

    def news(self) -> T | None:
        """The new contents. None if the files have not changed, or still cannot be read.

        Raises ConfigError the first time that a version cannot be read.
        """
        now = self._version()
        changed = now != self._seen
        if not changed and self._clock() < self._retry_at:
            return None
        self._seen = now
        self._retry_at = math.inf
        try:
            return self._read()
        except ConfigError:
            self._retry_at = self._clock() + RETRY_SECONDS
            if changed:
                raise
            return None


_FOLLOWED: Final[WeakSet[Followed[Any]]] = WeakSet()


def read_files_again() -> None:
    """Makes this process read all followed files again, as SIGHUP asks."""
    for followed in list(_FOLLOWED):
        followed.read_again()


class Latest(Generic[T]):
    """The contents of files. While a new version is unusable, the previous one stays in force.

    It may be called in several threads.
    """

    def __init__(
        self,
        files: Sequence[Path],
        read: Callable[[], T],
        on_problem: Callable[[ConfigError], None] = lambda _: None,
    ) -> None:
        """Raises ConfigError, as `read` does. `on_problem` is called once for each unusable version."""
        self._on_problem = on_problem
        self._lock = threading.Lock()
        self._file = Followed(lambda: version(*files), read, look=self._look)
        self._value = self._file.first

    def __call__(self) -> T:
        """The newest usable version. Checks the files each time."""
        self._look()
        return self._value

    def _look(self) -> None:
        with self._lock:
            try:
                news = self._file.news()
            except ConfigError as problem:
                self._on_problem(problem)
                return
            if news is not None:
                self._value = news


@contextmanager
def _config_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be written ({error.strerror})") from None


def _version(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(path: Path, what: str, forbidden: int) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & forbidden:
                raise ConfigError(
                    f"{path}: the {what} is open to others (mode {mode:04o}); run chmod 600 on it"
                )
            return file.read()
    except FileNotFoundError:
        raise ConfigError(f"{path}: the {what} does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror})") from None
