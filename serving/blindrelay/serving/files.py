"""Small files: read with an error that a person understands, secrets kept from others, changes noticed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from blindrelay.serving.errors import ConfigError

CREDENTIAL_PREFIX: Final = "credential:"
"""Before the name of a file in the credential directory (systemd.exec(5), LoadCredential=)."""

_DIRECTORY_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_FOR_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
"""Group members may read: that is how systemd and Kubernetes hand a secret to a process without root."""

Version = tuple[tuple[int, ...], ...]


def read_bytes(path: Path, what: str) -> bytes:
    """A small file's bytes. Raises ConfigError, with `what` naming the file's purpose."""
    return _read(path, what, forbidden=0)


def read_secret(path: Path, what: str) -> bytes:
    """As read_bytes, for what must stay secret: ConfigError also if others can read or change the file."""
    return _read(path, what, forbidden=_FOR_OTHERS)


def credential_path(name: str) -> Path:
    """The file of that name in the directory that $CREDENTIALS_DIRECTORY names. Raises ConfigError."""
    if not name or "/" in name or name in (".", ".."):
        raise ConfigError(f'"{CREDENTIAL_PREFIX}{name}" does not name a file in the credential directory')
    directory = os.environ.get(_DIRECTORY_VARIABLE)
    if not directory:
        raise ConfigError(
            f'"{CREDENTIAL_PREFIX}{name}" needs {_DIRECTORY_VARIABLE}, which is not set: '
            f"start the process with systemd and LoadCredential={name}:FILE, or give a path"
        )
    return Path(directory, name)


def version(*paths: Path) -> Version:
    """Changes whenever one of the files does, by being replaced or written to."""
    return tuple(_version(path) for path in paths)


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
