"""The labels that keep each use of a key apart (spec/protocol.md, section 3.3), spelt as on the wire."""

from __future__ import annotations

from typing import Final

ENCAPSULATION: Final = b"blindrelay/v1 encapsulation"
REQUEST: Final = b"blindrelay/v1 request"
RESPONSE: Final = b"blindrelay/v1 response"
KEY_CONFIG: Final = b"blindrelay/v1 key config"
IDENTITY: Final = b"blindrelay/v1 identity"
DELEGATION: Final = b"blindrelay/v1 delegation"
KEY_DIRECTORY: Final = b"blindrelay/v1 key directory"
RECEIPT: Final = b"blindrelay/v1 receipt"
WATERMARK: Final = b"blindrelay/v1 watermark"
PRICE_TABLE: Final = b"blindrelay/v1 price table"
ROUNDING: Final = b"blindrelay/v1 rounding"


def labelled(label: bytes, message: bytes) -> bytes:
    """``label ‖ 0x00 ‖ message``. No label contains a zero byte, so no two uses can collide."""
    return label + b"\x00" + message
