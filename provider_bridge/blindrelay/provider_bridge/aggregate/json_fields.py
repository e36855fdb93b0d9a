"""Where the top-level fields of a JSON body are, found without parsing their values.

Only where the fields are is read here. Whether the body is JSON, and with one reading, is checked against the
target's description.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

from blindrelay.provider_bridge.stateless.json_body import MAX_QUOTES, JsonError

MAX_FIELDS: Final = 1_000
"""Top-level fields. Providers' bodies have a few dozen."""

PAUSE: Final = 4_096
"""Steps after which other tasks run: about two milliseconds."""

_ELEMENTS: Final = 16
"""Elements of a list whose ends are kept: a conversation's beginning is among them."""

_QUOTE: Final = b'"'
_BACKSLASH: Final = b"\\"
_WINDOW: Final = 256
_OUTER: Final = re.compile(rb'["{}\[\],:]')
_NESTED: Final = re.compile(rb'["{}\[\]]')
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")


@dataclass
class Value:
    """Where a value is in the body, and where the first elements of a list or object end."""

    start: int
    end: int
    ends: list[int] = field(default_factory=list)


async def read_fields(body: bytearray) -> tuple[int, dict[bytes, Value]]:
    """Where the object begins, and its fields by their names, in quotation marks, as they are written.

    Raises JsonError if the body is not one object, has a field twice, or has too many.
    """
    reader = _Reader(body)
    for count, _ in enumerate(reader.steps(), 1):
        if count % PAUSE == 0:
            await asyncio.sleep(0)
        if count > MAX_QUOTES:
            raise JsonError("it has too many values")
    return reader.start, reader.fields


class _Reader:
    def __init__(self, body: bytearray) -> None:
        self.fields: dict[bytes, Value] = {}
        self.start = _space_end(body, 0)
        self._body = body
        self._name = b""
        self._value: Value | None = None

    def steps(self) -> Generator[None]:
        """Reads to the end of the object, one mark at a time."""
        if self._body[self.start : self.start + 1] != b"{":
            raise JsonError("it is not an object")
        depth, position = 1, self.start + 1
        while depth:
            found = (_OUTER if depth == 1 else _NESTED).search(self._body, position)
            if found is None:
                raise JsonError("it is not JSON")
            mark, position = found[0], found.end()
            if mark == _QUOTE:
                position = yield from self._string_end(position)
            depth += (mark in b"{[") - (mark in b"}]")
            self._take(mark, depth, found.start(), position)
            yield

    def _take(self, mark: bytes, depth: int, start: int, end: int) -> None:
        """Notes one mark: a whole string, or a character. `depth` is the one after it."""
        value = self._value
        if value is not None and depth == 2 and mark in b"}]" and len(value.ends) < _ELEMENTS:
            value.ends.append(end)
        if mark == _QUOTE and depth == 1 and value is None:
            self._name = bytes(self._body[start:end])
        elif mark == b":" and depth == 1:
            self._value = Value(_space_end(self._body, end), end)
        elif value is not None and ((mark == b"," and depth == 1) or depth == 0):
            value.end = start
            self._keep(value)

    def _keep(self, value: Value) -> None:
        if self._name in self.fields:
            raise JsonError("an object has one key twice")
        if len(self.fields) == MAX_FIELDS:
            raise JsonError(f"it has more than {MAX_FIELDS} fields")
        self.fields[self._name] = value
        self._name, self._value = b"", None

    def _string_end(self, position: int) -> Generator[None, None, int]:
        """Where the string ends that began before `position`."""
        while (end := self._body.find(_QUOTE, position)) >= 0:
            if _backslashes(self._body, end) % 2 == 0:
                return end + 1
            position = end + 1
            yield
        raise JsonError("it is not JSON")


def _backslashes(body: bytearray, end: int) -> int:
    """How many there are just before `end`."""
    count = 0
    while True:
        window = body[max(0, end - count - _WINDOW) : end - count]
        found = len(window) - len(window.rstrip(_BACKSLASH))
        count += found
        if found < _WINDOW:
            return count


def _space_end(body: bytearray, start: int) -> int:
    space = _SPACE.match(body, start)
    return start if space is None else space.end()
