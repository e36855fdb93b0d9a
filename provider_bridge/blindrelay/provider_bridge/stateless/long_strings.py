"""Takes long strings out of a JSON body before it is checked: a text, or an image in base64.

What is left is often small enough to be checked at once. Nothing here parses. A run of plain characters
between two quotation marks is replaced by "…". Inside a string that changes the string alone. Anywhere else
"…" is not JSON. So if the shortened body passes, the whole body would pass too. If it does not, the whole has
to be checked.
"""

from __future__ import annotations

import asyncio
import codecs
from typing import Final

from blindrelay.provider_bridge.stateless.json_body import KEPT_OF_LONG, LONG_STRING

MOST_QUOTES: Final = 16_384
"""Quotation marks, in strings too. Looking at so many takes a few milliseconds."""

SLICE: Final = 65_536
"""Bytes that are looked at together. The system finds new pages for each larger copy."""

PAUSE: Final = 524_288
"""Bytes after which other tasks run: half a millisecond, while each pause costs 20 microseconds."""

_QUOTE: Final = b'"'
_CONTROLS: Final = bytes(range(0x20))
_KEPT: Final = KEPT_OF_LONG.encode()
_MOST_SPACE: Final = 16


class LongStrings:
    """The long strings of one body, which may be looked at while it arrives."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []
        self._quotes = 0
        self._seen = 0
        self._start = 0
        self._run: _Run | None = None

    def look(self, body: bytearray, end: int | None = None) -> None:
        """Looks at what has come since the last time, or at that of it which is before `end`."""
        end = len(body) if end is None else min(end, len(body))
        if self._has_many:
            return
        while not self._has_many and (quote := body.find(_QUOTE, self._seen, end)) >= 0:
            self._quotes += 1
            if self._is_plain(body, quote):
                self._found.append((self._start, quote))
            self._run, self._start, self._seen = None, quote + 1, quote + 1
        self._is_plain(body, end)
        self._seen = end

    async def taken_out(self, body: bytearray) -> bytearray:
        """The whole body with "…" for long runs of plain characters, or itself if it has many strings.

        Other tasks run in between.
        """
        while self._seen < len(body) and not self._has_many:
            self.look(body, self._seen + PAUSE)
            await asyncio.sleep(0)
        if self._has_many:
            return body
        short, start = bytearray(), 0
        for begins, end in self._found:
            if not _is_key(body, end):
                short += body[start:begins] + _KEPT
                start = end
        return short + body[start:]

    @property
    def _has_many(self) -> bool:
        return self._quotes > MOST_QUOTES

    def _is_plain(self, body: bytearray, end: int) -> bool:
        """Whether the bytes since the last quotation mark are a long run of plain characters."""
        if end - self._start <= LONG_STRING:
            return False
        self._run = self._run or _Run(self._start)
        return self._run.is_plain(body, end)


class _Run:
    """Bytes between two quotation marks: plain as long as they are UTF-8 without escapes and controls."""

    def __init__(self, start: int) -> None:
        self._end = start
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._plain = True

    def is_plain(self, body: bytearray, end: int) -> bool:
        """Whether it is plain up to `end`. A character must not be cut there."""
        while self._plain and self._end < end:
            data = body[self._end : min(self._end + SLICE, end)]
            self._end += len(data)
            self._plain = self._continues(data)
        return self._plain and not self._decoder.getstate()[0]

    def _continues(self, data: bytearray) -> bool:
        if b"\\" in data or len(data.translate(None, _CONTROLS)) < len(data):
            return False
        if data.isascii():
            return not self._decoder.getstate()[0]
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError:
            return False
        return True


def _is_key(body: bytearray, end: int) -> bool:
    """Whether a string that ends here may be a key. Keys are kept: two of them must be told apart."""
    following = body[end + 1 : end + 1 + _MOST_SPACE].lstrip()
    return not following or following.startswith(b":")
