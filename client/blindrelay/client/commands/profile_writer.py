"""Writes a profile into the TOML file, and its token into a file of its own; the rest stays as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from blindrelay.client.errors import ConfigurationError
from blindrelay.v1.private_file import make_folder, replace_file

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_TABLE: Final = re.compile(r"\s*\[")


def write_profile(path: Path, name: str, settings: Mapping[str, str]) -> None:
    """Writes ``[profiles.NAME]``, in the place of one of that name; the file gets mode 0600.

    Raises ConfigurationError if the file is not one that can be changed without changing more than that.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"a profile's name has letters, digits, - and _, unlike {name!r}")
    text = _text(path)
    wanted = _parsed(path, text)
    if not isinstance(wanted.setdefault("profiles", {}), dict):
        raise ConfigurationError(f"{path}: profiles is not a table")
    wanted["profiles"][name] = dict(settings)
    table = "".join(f"{key} = {_quoted(value)}\n" for key, value in settings.items())
    changed = _with_table(text, f"[profiles.{name}]", table)
    if _parsed(path, changed) != wanted:
        raise ConfigurationError(f"{path} has an unusual form: change profile {name!r} in it by hand")
    write_private(path, changed)


def write_private(path: Path, text: str) -> None:
    """Writes a file that is this user's alone, all or nothing. Raises ConfigurationError."""
    try:
        make_folder(path.parent)
        replace_file(path, text.encode())
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _with_table(text: str, header: str, table: str) -> str:
    """The text with a table replaced, from its header to the next one; or with the table at its end."""
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.split("#")[0].strip() == header]
    if not starts:
        gap = "\n" if text.strip() else ""
        end = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{end}{gap}{header}\n{table}"
    start = starts[0]
    others = (number for number in range(start + 1, len(lines)) if _TABLE.match(lines[number]))
    after = "".join(lines[next(others, len(lines)) :])
    gap = "\n" if after else ""
    return "".join(lines[: start + 1]) + table + gap + after


def _quoted(text: str) -> str:
    # JSON's strings are TOML's, too, but for the delete character, which no setting has.
    return json.dumps(text, ensure_ascii=False)
