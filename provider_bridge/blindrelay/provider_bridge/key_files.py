"""Key files: written once and whole, for their owner alone."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from blindrelay.serving import ConfigError, read_secret


def read_key_file(path: Path, what: str, form: re.Pattern[bytes], described: str) -> bytes:
    """The 32-byte seed in a file: what the group of `form` matches, in hexadecimal.

    Raises ConfigError if the file is missing, unreadable, of another form, or open to other users.
    """
    match = form.fullmatch(read_secret(path, what))
    if match is None:
        raise ConfigError(f"{path}: not {described}")
    return bytes.fromhex(match[1].decode("ascii"))


def write_new(path: Path, text: str, what: str) -> None:
    """Writes a file that was not there (0600), whole or not at all; one that was made meanwhile stays.

    Raises ConfigError if it cannot be written.
    """
    try:
        _write_new(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be written ({error.strerror})") from None


def _write_new(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
