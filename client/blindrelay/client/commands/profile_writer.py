"""Writes a profile into the TOML file, and its token into a file of its own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from blindrelay.client.errors import ConfigurationError
from blindrelay.v1.private_file import make_folder, replace_file

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


def write_profile(path: Path, name: str, settings: Mapping[str, str]) -> None:
    """Writes the table ``[profiles.NAME]`` and keeps the rest of the file; the file gets mode 0600.

    Raises ConfigurationError if the file is not valid TOML or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"a profile's name has letters, digits, - and _, unlike {name!r}")
    document = _read(path)
    wanted = document.unwrap()
    try:
        wanted.setdefault("profiles", {})[name] = dict(settings)
        _change(document, name, settings)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ConfigurationError(f"{path}: profiles is not a table of tables") from None
    text = tomlkit.dumps(document)
    if tomllib.loads(text) != wanted:
        raise ConfigurationError(f"{path} has an unusual form: change profile {name!r} in it by hand")
    write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only this user can read, all or nothing. Raises ConfigurationError."""
    try:
        make_folder(path.parent)
        replace_file(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _read(path: Path) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _change(document: tomlkit.TOMLDocument, name: str, settings: Mapping[str, str]) -> None:
    profiles: Any = document.setdefault("profiles", tomlkit.table(is_super_table=True))
    # An inline table can only hold other inline ones.
    is_inline = isinstance(profiles, InlineTable)
    profile = profiles.setdefault(name, tomlkit.inline_table() if is_inline else tomlkit.table())
    for key in set(profile) - set(settings):
        del profile[key]
    profile.update(settings)
