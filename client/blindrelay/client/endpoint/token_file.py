"""The endpoint's own token, in a file that is this user's alone."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blindrelay.client.errors import ConfigurationError
from blindrelay.client.state_file import NO_FOLLOW, Whose, whose
from blindrelay.v1.private_file import make_file, make_folder

TOKEN_PREFIX: Final = "brl_"  # noqa: S105 (what every token begins with)
FILE_NAME: Final = "endpoint-token"

_FORM: Final = re.compile(TOKEN_PREFIX + r"[0-9A-Za-z_-]{43}")
_MAX_SIZE: Final = 256
"""Bytes that are read of the file: five times a token."""


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


def new_token() -> str:
    """A token that nobody has yet: 256 bits at random."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


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
    descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        _check_ours(path, os.fstat(descriptor))
        text = file.read(_MAX_SIZE).decode("ascii", "replace").strip()
    if not _FORM.fullmatch(text):
        raise ConfigurationError(f"the endpoint's token {path} is damaged: remove it, and a new one is made")
    return text


def _check_ours(path: Path, status: os.stat_result) -> None:
    match whose(status):
        case Whose.OF_NO_SUCH_KIND:
            fault = "is not a file"
        case Whose.ANOTHER_USERS:
            fault = "belongs to another user"
        case Whose.OPEN_TO_OTHERS:
            fault = "is open to others: remove it, and a new one is made"
        case Whose.OURS:
            return
    raise ConfigurationError(f"the endpoint's token {path} {fault}")


def _make(path: Path) -> bool:
    """Writes a new token; False if another process was first."""
    make_folder(path.parent)
    return make_file(path, f"{new_token()}\n".encode())
