"""A bytes field as protobuf writes it (Protocol Buffers, "Encoding": length-delimited records).

protobuf's own encoder (upb, 7.36) has a buffer that doubles until all fits: for 64 KiB it asks for 128 KiB
and gives them back each time, and the pages that the system has to find for that cost almost as much as
sealing does.
"""

from __future__ import annotations

from typing import Final

_LENGTH_DELIMITED: Final = 2
_MORE: Final = 0x80


def bytes_field(number: int, value: bytes) -> bytes:
    """The field with that number: a message of its own, or the end of one that has no later field."""
    return b"".join((_varint(number << 3 | _LENGTH_DELIMITED), _varint(len(value)), value))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _MORE:
        encoded.append(value & 0x7F | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
