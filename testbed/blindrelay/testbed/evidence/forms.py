"""The forms that a word may take on its way through programs, and how much of one is no accident."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

WINDOW: Final = 12
"""Bytes in a row of a word in one of its forms: 96 bits, or 48 where each byte is a hexadecimal digit."""


def forms(word: str) -> dict[str, list[bytes]]:
    """The word, of ASCII letters and digits, by the name of each form; some forms have several spellings."""
    plain = word.encode("ascii")
    return {
        "UTF-8": [plain],
        "UTF-16": [word.encode("utf-16-le"), word.encode("utf-16-be")],
        "JSON escapes": ["".join(f"\\u{ord(letter):04x}" for letter in word).encode()],
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


def windows(word: str) -> set[bytes]:
    """Every run of WINDOW bytes in every form."""
    return {
        spelling[start : start + WINDOW]
        for spellings in forms(word).values()
        for spelling in spellings
        for start in range(len(spelling) - WINDOW + 1)
    }


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
