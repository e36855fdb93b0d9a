"""The endpoint's own token, in a file that is this user's alone."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blindrelay.client.errors import ConfigurationError

TOKEN_PREFIX: Final = "brl_"  # noqa: S105 (what every token begins with)
FILE_NAME: Final = "endpoint-token"

_FORM: Final = re.compile(TOKEN_PREFIX + r"[0-9A-Za-z_-]{43}")
_MAX_SIZE: Final = 256
"""Bytes that are read of the file: five times a token."""
_OF_OTHERS: Final = 0o077
_NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class LocalToken:
    """What a program shows to use the endpoint.

    Attributes:
        text: "brl_" and 43 characters: 256 bits at random.
        path: where it is kept.
        is_new: whether it was made just now.
    """

    text: str = field(repr=False)
    path: Path
    is_new: bool


def local_token(folder: Path) -> LocalToken:
    """The token that is kept in the folder, made on first use.

    Raises ConfigurationError for a file that is damaged, a link, of another owner or open to others, and
    where none can be written.
    """
    path = folder / FILE_NAME
    try:
        try:
            return LocalToken(_read(path), path, is_new=False)
        except FileNotFoundError:
            is_new = _make(path)
            return LocalToken(_read(path), path, is_new)
    except OSError as error:
        raise ConfigurationError(f"the endpoint's token {path}: {error.strerror or error}") from None


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        _check_ours(path, os.fstat(descriptor))
        text = file.read(_MAX_SIZE).decode("ascii", "replace").strip()
    if not _FORM.fullmatch(text):
        raise ConfigurationError(f"the endpoint's token {path} is damaged: remove it, and a new one is made")
    return text


def _check_ours(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the endpoint's token {path} is not a file")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise ConfigurationError(f"the endpoint's token {path} belongs to another user")
    if status.st_mode & _OF_OTHERS:
        raise ConfigurationError(
            f"the endpoint's token {path} is open to others: remove it, and a new one is made"
        )


def _make(path: Path) -> bool:
    """Writes a new token, whole or not at all; False if another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(TOKEN_PREFIX + secrets.token_urlsafe(32) + "\n")
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True
