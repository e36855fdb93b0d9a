"""The forms that bytes may take on their way through programs, and how many of them are no accident."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

WINDOW: Final = 12
"""Bytes in a row, in a form of one byte for each of ours, that count as found."""


def forms(word: str | bytes) -> dict[str, list[bytes]]:
    """A word of ASCII letters, or any bytes, by the name of each form; some forms have several spellings."""
    plain = word.encode("ascii") if isinstance(word, str) else word
    letters = plain.decode("latin-1")
    return {
        "UTF-8": [plain],
        "UTF-16": [letters.encode("utf-16-le"), letters.encode("utf-16-be")],
        "JSON escapes": ["".join(f"\\u{byte:04x}" for byte in plain).encode()],
        "Python escapes": ["".join(f"\\x{byte:02x}" for byte in plain).encode(), repr(plain)[2:-1].encode()],
        "percent-encoding": [
            "".join(f"%{byte:02X}" for byte in plain).encode(),
            "".join(f"%{byte:02x}" for byte in plain).encode(),
        ],
        "base64": [
            encode(b"\0" * shift + plain)[4:-4]
            for shift in range(3)
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
        ],
        "hexadecimal": [plain.hex().encode(), plain.hex().upper().encode()],
        "reversed": [plain[::-1]],
        "HPACK": list(_huffman(plain)),
    }


def spellings(word: str | bytes) -> set[bytes]:
    """All of them, in whatever form."""
    return {spelling for form in forms(word).values() for spelling in form}


def window(spelling: bytes) -> int:
    """How many bytes in a row of a spelling count: in a form that spells a byte with more, as many more.

    Six letters in UTF-16 are twelve bytes, and a library's table of version numbers has six digits in a row.
    """
    if spelling[::2].count(0) == len(spelling[::2]) or spelling[1::2].count(0) == len(spelling[1::2]):
        return 2 * WINDOW
    widths = {b"\\u": 6, b"\\x": 4, b"%": 3}
    return WINDOW * next((width for start, width in widths.items() if _is_of(spelling, start, width)), 1)


def _is_of(spelling: bytes, start: bytes, width: int) -> bool:
    """Whether every `width` bytes begin with `start`; one of Huffman's bytes may look like an escape."""
    return all(spelling.startswith(start, place) for place in range(0, len(spelling), width))


def _huffman(plain: bytes) -> Iterator[bytes]:
    """RFC 7541, section 5.2: a code of bits, so once for each place in a byte where it may begin."""
    code, length = 0, 0
    for byte in plain:
        code = code << REQUEST_CODES_LENGTH[byte] | REQUEST_CODES[byte]
        length += REQUEST_CODES_LENGTH[byte]
    for skipped in range(8):
        whole_bytes = (length - skipped) // 8
        kept = code >> (length - skipped - whole_bytes * 8)
        yield (kept & (1 << whole_bytes * 8) - 1).to_bytes(whole_bytes, "big")
