"""Files that a connection names: certificates, and secrets, which may not be open to others."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from blindrelay.client.errors import ConfigurationError
from blindrelay.v1.private_file import OPEN_TO_OTHERS
from blindrelay.v1.text_file import EncodingError, decode_text


def expanded(path: str) -> Path:
    """The path with the home directory in place of ~. Raises ConfigurationError."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"{path}: no home directory: give an absolute path") from None


def read_secret(option: str, path: str) -> str:
    """A file's text. Raises ConfigurationError if the file is open to others."""
    return read_file(option, path, OPEN_TO_OTHERS)


def read_file(option: str, path: str, forbidden: int = 0) -> str:
    """A file's text. A regular file may not have the forbidden mode bits."""
    try:
        with expanded(path).open("rb") as file:
            status = os.fstat(file.fileno())
            if sys.platform != "win32" and stat.S_ISREG(status.st_mode) and status.st_mode & forbidden:
                mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
                raise ConfigurationError(f"{option}: {path} is open to others ({mode}): run chmod 600 on it")
            return decode_text(file.read())
    except OSError as error:
        raise ConfigurationError(f"{option}: cannot read {path}: {error.strerror}") from None
    except EncodingError as error:
        raise ConfigurationError(f"{option}: {path} {error}") from None
    except ValueError:  # a NUL
        raise ConfigurationError(f"{option}: {path!r} is not a valid path") from None
