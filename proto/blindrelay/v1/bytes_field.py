"""A bytes field as protobuf writes it (Protocol Buffers, "Encoding": length-delimited records).

protobuf's own encoder (upb, 7.36) doubles a buffer until the message fits. For 64 KiB it allocates and frees
128 KiB each time. Finding those pages costs the system almost as much time as sealing. Its decoder copies
a value twice.
"""

from __future__ import annotations

from typing import Final

_LENGTH_DELIMITED: Final = 2
_MORE: Final = 0x80
_LONGEST: Final = 5
"""Bytes of a length: up to 32 bits, seven in each."""


def bytes_field(number: int, value: bytes) -> bytes:
    """The field with that number. It is a message by itself, or the last field of one."""
    return b"".join((bytes_field_start(number, len(value)), value))


def bytes_field_start(number: int, size: int) -> bytes:
    """What stands before the value of such a field: its tag and its length."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(size)


def lone_bytes_field(number: int, message: bytes | memoryview) -> memoryview | None:
    """The value of the field with that number, 1 to 15, if it is all of the message. It is not copied."""
    if not message or message[0] != number << 3 | _LENGTH_DELIMITED:
        return None
    size = 0
    for place, byte in enumerate(message[1 : 1 + _LONGEST]):
        size |= (byte & 0x7F) << 7 * place
        if byte < _MORE:
            value = memoryview(message)[place + 2 :]
            return value if len(value) == size else None
    return None


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= _MORE:
        encoded.append(value & 0x7F | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
