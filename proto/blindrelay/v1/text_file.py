"""Text files that people edit: UTF-8 in every locale, with or without a byte-order mark."""

from __future__ import annotations

import codecs


class EncodingError(ValueError):
    """The bytes are not UTF-8. The text has the file as its subject, and says what to do."""


def decode_text(data: bytes) -> str:
    """The text without its byte-order mark. Raises EncodingError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise EncodingError("is UTF-16 text: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise EncodingError(f"is not UTF-8 text (line {line}): save it as UTF-8") from None
