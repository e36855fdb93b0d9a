"""Reads chosen members of JSON objects while their bytes pass, in bounded memory.

It follows strings and brackets only, so a response of any size costs no copy. Everything outside of
objects is skipped: the "data:" of an event stream, the brackets of a list. So one reader serves a JSON body,
events, lines of JSON and a list that is streamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

MAX_MEMBER: Final = 16_384
"""Bytes of one member's name and value. What is read has a few hundred; a longer member is not read."""

# A whole string, or one mark. Inside a member's own object or list, commas separate nothing of interest.
_STRING: Final = rb'"(?:[^"\\]|\\.)*+"'
_AT_MEMBERS: Final = re.compile(_STRING + rb'|["{}\[\],]', re.DOTALL)
_INSIDE: Final = re.compile(_STRING + rb'|["{}\[\]]', re.DOTALL)
_NAME: Final = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*:\s*')


@dataclass(frozen=True)
class Wanted:
    """Which members are read.

    Attributes:
        names: dotted: "usage", "response.usage".
        within: the objects whose members are looked at, too: "response".
    """

    names: frozenset[str]
    within: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Member:
    """Where a member's value stands, in bytes from the first one fed."""

    value: Any
    start: int
    end: int


class MemberReader:
    """Reads one object after the other.

    Attributes:
        unread: wanted members that were too long to be read, by name, each with the first byte of its value.
            The name is empty if it could not be read either.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: dict[str, Member] = {}
        self.unread: dict[str, bytes] = {}
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._prefixes: list[str] = []
        self._member = bytearray()
        self._member_start = 0
        self._passed = 0

    def feed(self, data: bytes | bytearray) -> Iterator[Mapping[str, Member]]:
        """Takes the next bytes. Yields the members of each object that ends in them."""
        position = 0
        while position < len(data):
            if self._depth == 0:
                position = self._next_object(data, position)
            elif self._in_string:
                position = self._through_string(data, position)
            elif (found := self._next_mark(data, position)) is None:
                position = len(data)
            elif (position := found.end()) - found.start() == 1:
                self._take_mark(found[0], self._passed + found.start())
                if self._depth == 0:
                    members, self._found = self._found, {}
                    yield members
        self._passed += len(data)

    @property
    def _base(self) -> int:
        """The depth of the members that are looked at."""
        return 1 + len(self._prefixes)

    def _next_object(self, data: bytes | bytearray, position: int) -> int:
        start = data.find(b"{", position)
        if start < 0:
            return len(data)
        self._depth = 1
        self._begin_member(self._passed + start + 1)
        return start + 1

    def _next_mark(self, data: bytes | bytearray, position: int) -> re.Match[bytes] | None:
        """The next mark. A whole string is one, and is kept with what is before it."""
        pattern = _AT_MEMBERS if self._depth == self._base else _INSIDE
        found = pattern.search(data, position)
        if found is None:
            self._keep(data, position, len(data))
        else:
            is_string = found.end() - found.start() > 1
            self._keep(data, position, found.end() if is_string else found.start())
        return found

    def _through_string(self, data: bytes | bytearray, position: int) -> int:
        """Skips to the end of the string, or of the data."""
        start = position
        position += self._escaped
        while (end := data.find(b'"', position)) >= 0:
            escaped = _ends_in_escape(data[position:end])
            position = end + 1
            if not escaped:
                self._in_string = self._escaped = False
                self._keep(data, start, position)
                return position
        self._escaped = _ends_in_escape(data[position:])
        self._keep(data, start, len(data))
        return len(data)

    def _take_mark(self, mark: bytes | bytearray, place: int) -> None:
        if mark == b'"':
            self._in_string = True
        elif mark in (b"{", b"["):
            if mark == b"{" and self._depth == self._base and (name := self._name()) in self._wanted.within:
                self._prefixes.append(name)
                self._depth += 1
                self._begin_member(place + 1)
                return
            self._depth += 1
        elif mark == b"," and self._depth == self._base:
            self._end_member(place)
            self._begin_member(place + 1)
            return
        elif mark in (b"}", b"]"):
            self._close(place)
            if self._depth < self._base:
                return
        self._keep(mark, 0, 1)

    def _close(self, place: int) -> None:
        if self._depth == self._base:
            self._end_member(place)
            if self._prefixes:
                self._prefixes.pop()
                # What was looked into has been read, member by member.
                self._member.clear()
        self._depth -= 1

    def _begin_member(self, place: int) -> None:
        self._member.clear()
        self._member_start = place

    def _keep(self, data: bytes | bytearray, start: int, end: int) -> None:
        room = MAX_MEMBER + 1 - len(self._member)
        if room > 0:
            self._member += data[start : min(end, start + room)]

    def _name(self) -> str:
        found = _NAME.match(self._member)
        return "" if found is None else ".".join([*self._prefixes[-1:], _unescaped(found[1])])

    def _end_member(self, place: int) -> None:
        found, name = _NAME.match(self._member), self._name()
        if len(self._member) > MAX_MEMBER and (found is None or name in self._wanted.names):
            self.unread[name] = b"" if found is None else bytes(self._member[found.end() : found.end() + 1])
            return
        if found is None or name not in self._wanted.names:
            return
        try:
            value = json.loads(self._member[found.end() :])
        except (ValueError, RecursionError):
            return
        self._found[name] = Member(value, self._member_start + found.end(), place)


def _unescaped(name: bytes | bytearray) -> str:
    """A member's name without its escapes, as every parser reads it."""
    try:
        return str(json.loads(b'"' + name + b'"')) if b"\\" in name else name.decode("utf-8", "replace")
    except ValueError:
        return ""


def _ends_in_escape(text: bytes | bytearray) -> bool:
    """Whether a string's text ends in a backslash that escapes what follows."""
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1
