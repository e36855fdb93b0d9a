"""Words that nobody else says, for every place where an exchange has content, in every form."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

WINDOW: Final = 12
"""Bytes: so much of a canary in a row is no accident."""


@dataclass(frozen=True)
class Canaries:
    """One exchange's; each is 40 letters and digits, so that JSON, URLs and headers leave it as it is."""

    body: str
    path: str
    query: str
    header: str
    model: str
    file_name: str
    key: str

    @classmethod
    def fresh(cls) -> Canaries:
        return cls(*(f"{field.name.replace('_', '')}{secrets.token_hex(20)}"[:40] for field in fields(cls)))

    def items(self) -> Iterator[tuple[str, str]]:
        for field in fields(self):
            yield field.name, getattr(self, field.name)

    def found_in(self, streams: Iterable[bytes]) -> set[str]:
        """The kinds of which a window is in one of the streams, in whatever form."""
        seen = list(streams)
        return {
            kind
            for kind, word in self.items()
            if any(window in data for window in forms(word) for data in seen)
        }


def forms(word: str) -> set[bytes]:
    """Every window of a word as it is, in UTF-16, reversed, in hex, in base64 and in HPACK's Huffman code."""
    plain = word.encode()
    whole = [
        plain,
        word.encode("utf-16-le"),
        plain[::-1],
        plain.hex().encode(),
        plain.hex().upper().encode(),
        *(base64.b64encode(b"\0" * shift + plain)[4:-4] for shift in range(3)),
        *(base64.urlsafe_b64encode(b"\0" * shift + plain)[4:-4] for shift in range(3)),
        *_huffman(plain),
    ]
    return {form[start : start + WINDOW] for form in whole for start in range(len(form) - WINDOW + 1)}


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
