"""A bytes field as protobuf writes it (Protocol Buffers, "Encoding": length-delimited records).

protobuf's own encoder (upb, 7.36) doubles a buffer until the message fits. For 64 KiB it allocates and frees
128 KiB each time. Finding those pages costs the system almost as much time as sealing.
"""

from __future__ import annotations

from typing import Final

_LENGTH_DELIMITED: Final = 2
_MORE: Final = 0x80


def bytes_field(number: int, value: bytes) -> bytes:
    """The field with that number. It is a message by itself, or the last field of one."""
    return b"".join((bytes_field_start(number, len(value)), value))


def bytes_field_start(number: int, size: int) -> bytes:
    """What stands before the value of such a field: its tag and its length."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(size)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _MORE:
        encoded.append(value & 0x7F | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
