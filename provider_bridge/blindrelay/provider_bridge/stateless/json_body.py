"""Parses a JSON body strictly, so that the provider's parser sees what was checked.

Duplicate keys, encodings other than UTF-8, byte order marks and NaN are refused: parsers disagree about them.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final, NoReturn

LONG_STRING: Final = 1_024
"""Bytes. A longer string is content (a text, an image in base64). It is checked, and not kept."""

KEPT_OF_LONG: Final = "…"
"""The value in place of such a string."""

MAX_STRUCTURE: Final = 1_000_000
"""Commas, braces and brackets outside long strings. A value takes up to 100 bytes of memory, so 100 MB for
one body. A million is more than any model's context."""

MAX_QUOTES: Final = 4 * MAX_STRUCTURE
"""Quotation marks, including those in strings: enough for that many keys and values, and a second of work."""

_BOM: Final = b"\xef\xbb\xbf"
_PLACEHOLDER: Final = f'"{KEPT_OF_LONG}"'.encode()
_DECODE_SIZE: Final = 65_536
# RFC 8259, section 7. Each repetition is possessive, so nothing is matched twice. A quote that begins no
# string (group 1) ends the search: to try again at each would take quadratic time. The ranges are all bytes
# but controls, quotes and backslashes; they are tested in half the time of [^...].
_STRING: Final = re.compile(rb'"(?:[ !#-\[\]-\xff]++|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*+"|(")')


class JsonError(ValueError):
    """The body is not strict JSON. The text says why."""


def parse_json(body: bytes | bytearray) -> Any:
    """The value of a JSON text (RFC 8259), with "…" for each string over 1,024 bytes. Raises JsonError."""
    if body[:3] == _BOM:
        raise JsonError("it begins with a byte order mark")
    if body.count(b'"') > MAX_QUOTES:
        raise JsonError(f"it has more than {MAX_QUOTES} quotation marks")
    _check_utf8(body)
    text = _without_long_strings(body)
    if sum(text.count(mark) for mark in (b",", b"{", b"[")) > MAX_STRUCTURE:
        raise JsonError(f"it has more than {MAX_STRUCTURE} values")
    try:
        return json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise JsonError("it is nested too deeply") from None
    except JsonError:
        raise
    except ValueError:
        raise JsonError("it is not JSON") from None


def _check_utf8(body: bytes | bytearray) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(body), _DECODE_SIZE):
            decoder.decode(body[start : start + _DECODE_SIZE])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise JsonError("it is not UTF-8") from None


def _without_long_strings(body: bytes | bytearray) -> bytes:
    """The text with "…" for each long string. Raises JsonError at the first quote that begins no string."""
    kept: list[bytes | bytearray] = []
    start = 0
    for string in _STRING.finditer(body):
        if string[1]:
            raise JsonError("it is not JSON")
        if string.end() - string.start() > LONG_STRING:
            kept += [body[start : string.start()], _PLACEHOLDER]
            start = string.end()
    return b"".join([*kept, body[start:]])


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise JsonError("an object has one key twice")
    return values


def _refuse_constant(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is not JSON")
