"""The endpoint's token, in a file that only this user can read."""

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

TOKEN_PREFIX: Final = "brl_"  # noqa: S105 (a prefix, not a token)
FILE_NAME: Final = "endpoint-token"

_FORM: Final = re.compile(TOKEN_PREFIX + r"[0-9A-Za-z_-]{43}")
_MAX_SIZE: Final = 256
"""How many bytes of the file are read: five times a token."""


@dataclass(frozen=True)
class LocalToken:
    """The token that a program shows to use the endpoint.

    Attributes:
        text: "brl_" and 43 characters: 256 random bits.
        path: its file.
        is_new: whether it was just created.
    """

    text: str = field(repr=False)
    path: Path
    is_new: bool


def new_token() -> str:
    """A new token: 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def local_token(folder: Path) -> LocalToken:
    """The token that is kept in the folder; created on first use.

    Raises ConfigurationError if the file is damaged, a link, another user's or open to others, or if it
    cannot be written.
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
        raise ConfigurationError(f"the endpoint's token {path} is damaged: remove it to get a new one")
    return text


def _check_ours(path: Path, status: os.stat_result) -> None:
    match whose(status):
        case Whose.OF_NO_SUCH_KIND:
            fault = "is not a file"
        case Whose.ANOTHER_USERS:
            fault = "belongs to another user"
        case Whose.OPEN_TO_OTHERS:
            fault = "is open to others: remove it to get a new one"
        case Whose.OURS:
            return
    raise ConfigurationError(f"the endpoint's token {path} {fault}")


def _make(path: Path) -> bool:
    """Writes a new token; False if another process was first."""
    make_folder(path.parent)
    return make_file(path, f"{new_token()}\n".encode())
