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


async def shorten(body: bytearray) -> bytearray:
    """The body with "…" for long runs of plain characters, or the body itself if it has many strings."""
    if body.count(_QUOTE) > MOST_QUOTES:
        return body
    short = bytearray()
    start = 0
    while (end := body.find(_QUOTE, start)) >= 0:
        replaced = end - start > LONG_STRING and not _is_key(body, end) and await _is_plain(body, start, end)
        short += _KEPT if replaced else body[start:end]
        short += _QUOTE
        start = end + 1
    return short + body[start:]


def _is_key(body: bytearray, end: int) -> bool:
    """Whether a string that ends here may be a key. Keys are kept: two of them must be told apart."""
    following = body[end + 1 : end + 1 + _MOST_SPACE].lstrip()
    return not following or following.startswith(b":")


async def _is_plain(body: bytearray, start: int, end: int) -> bool:
    """Whether the bytes are UTF-8 without escapes and control characters. Other tasks run in between."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for position in range(start, end, SLICE):
            data = body[position : min(position + SLICE, end)]
            if b"\\" in data or len(data.translate(None, _CONTROLS)) < len(data):
                return False
            decoder.decode(data)
            if (position - start) % PAUSE == 0:
                await asyncio.sleep(0)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
