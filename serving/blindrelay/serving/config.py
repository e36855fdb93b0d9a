"""Strict reading of TOML files: a key that is unknown, of another type or out of range is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from blindrelay.serving.address import Address, parse_address
from blindrelay.serving.errors import ConfigError
from blindrelay.serving.files import CREDENTIAL_PREFIX, credential_path
from blindrelay.v1.identity_text import parse_identity
from blindrelay.v1.text_file import EncodingError, decode_text

T = TypeVar("T")


def read_config(path: Path, build: Callable[[Table], T]) -> T:
    """Reads a TOML file with `build`, which takes the keys it knows from the Table.

    Raises ConfigError, one sentence with file and key, if a key is missing, wrong or unknown.
    """
    try:
        text = decode_text(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: the configuration file does not exist") from None
    except OSError as error:
        raise ConfigError(f"{path}: the configuration file cannot be read ({error.strerror})") from None
    except EncodingError as error:
        raise ConfigError(f"{path}: the configuration file {error}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return Table(path, "", values).build(build)


class Table:
    """One TOML table, read key by key. Every method raises ConfigError for a value of another kind."""

    def __init__(self, file: Path, name: str, values: dict[str, Any]) -> None:
        self._file = file
        self._name = name
        self._values = values
        self._known: set[str] = set()

    def build(self, build: Callable[[Table], T]) -> T:
        """Returns build(self). Raises ConfigError for keys that `build` did not read."""
        built = build(self)
        for key in self._values:
            if key not in self._known:
                raise self.error(
                    key, "is not a known key; the known ones are " + ", ".join(sorted(self._known))
                )
        return built

    def error(self, key: str, problem: str) -> ConfigError:
        """An error about one key of this table, for the caller's own checks."""
        return ConfigError(f"{self._file}: {self._path(key)} {problem}")

    def missing(self, key: str, needed: str) -> ConfigError:
        """An error about a key that is absent. It names a key beside it that may be a misspelling."""
        unread = self._values.keys() - self._known
        alike = get_close_matches(key, sorted(unread), 1)
        question = f". Is {self._path(alike[0])} a misspelling of it?" if alike else ""
        return self.error(key, f"is missing: {needed}{question}")

    def text(self, key: str) -> str:
        """A string that is not empty."""
        return self._required(key, self.optional_text(key), "a string")

    def optional_text(self, key: str) -> str | None:
        """A string that is not empty, or None if the key is absent."""
        value = self._take(key, str, "a string")
        if value == "":
            raise self.error(key, "must not be empty")
        return value

    def optional_identity(self, key: str) -> bytes | None:
        """A bridge's identity, 32 bytes, from its text (br1…), or None if the key is absent."""
        text = self.optional_text(key)
        try:
            return None if text is None else parse_identity(text)
        except ValueError as error:
            raise self.error(key, f"is not an identity: {error}") from None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """An array of strings, or None if the key is absent."""
        values = self._take(key, list, "an array of strings")
        if values is None:
            return None
        if not all(isinstance(value, str) and value for value in values):
            raise self.error(key, "must be an array of strings, none of them empty")
        return tuple(values)

    def integer(self, key: str, *, default: int, minimum: int, maximum: int) -> int:
        """An integer from minimum to maximum."""
        value = self._take(key, int, "an integer")
        if value is None:
            return default
        if not minimum <= value <= maximum:
            raise self.error(key, f"must be from {minimum} to {maximum}, and is {value}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._take(key, bool, "true or false")
        return default if value is None else value

    def path(self, key: str) -> Path:
        """A file's path, relative to the configuration file, or "credential:NAME" (see files.py)."""
        return self._required(key, self.optional_path(key), "a path")

    def optional_path(self, key: str) -> Path | None:
        """As path, or None if the key is absent."""
        value = self.optional_text(key)
        if value is not None and "\0" in value:
            raise self.error(key, "contains a NUL character, which a path cannot have")
        if value is None or not value.startswith(CREDENTIAL_PREFIX):
            return None if value is None else self._file.parent / value
        try:
            return credential_path(value.removeprefix(CREDENTIAL_PREFIX))
        except ConfigError as error:
            raise self.error(key, f"= {error}") from None

    def address(self, key: str) -> Address:
        """A "host:port"."""
        text = self.text(key)
        try:
            return parse_address(text)
        except ConfigError as error:
            raise self.error(key, f"= {error}") from None

    def table(self, key: str, build: Callable[[Table], T]) -> T | None:
        """The result of `build` for a sub-table, or None if the key is absent."""
        values = self._take(key, dict, "a table")
        return None if values is None else Table(self._file, self._path(key), values).build(build)

    def tables(self, key: str, build: Callable[[Table], T]) -> tuple[T, ...]:
        """The results of `build` for an array of one or more tables."""
        built = self.optional_tables(key, build)
        if not built:
            raise self.missing(key, f"at least one [[{key}]] section is needed")
        return built

    def optional_tables(self, key: str, build: Callable[[Table], T]) -> tuple[T, ...]:
        """As tables, or nothing if the key is absent."""
        values = self._take(key, list, f"an array of tables, [[{key}]]") or []
        if not all(isinstance(value, dict) for value in values):
            raise self.error(key, f"must be an array of tables, [[{key}]]")
        return tuple(
            Table(self._file, f"{self._path(key)}[{index}]", value).build(build)
            for index, value in enumerate(values)
        )

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def _take(self, key: str, kind: type[T], described: str) -> T | None:
        self._known.add(key)
        if key not in self._values:
            return None
        value = self._values[key]
        # In Python, bool is a subclass of int.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"must be {described}")
        return value

    def _required(self, key: str, value: T | None, described: str) -> T:
        if value is None:
            raise self.missing(key, f"{described} is needed")
        return value
