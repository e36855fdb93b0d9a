"""PADMÉ: how long a direction's records are made, together (spec/protocol.md, section 9.3).

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
PoPETs 2019, algorithm 1. It leaks O(log log M) bits of a length and costs at most 12 %.
"""

from __future__ import annotations

from typing import Final

FLOOR: Final = 4_096
"""Bytes: the least that a direction adds up to. A short prompt, a short response and an error look alike."""

TUNNEL_FLOOR: Final = 1_024
"""Bytes of a tunnel's record at least: most events of a typed or spoken dialogue look alike."""

RECORD_OVERHEAD: Final = 20
"""Bytes that a record adds to its part: the part's length (4) and AES-GCM's tag (16)."""


def padme(length: int) -> int:
    """The padded length for `length` ≥ 2 bytes: a mantissa of no more bits than its exponent needs."""
    exponent = length.bit_length() - 1
    loose_bits = exponent - exponent.bit_length()
    mask = (1 << loose_bits) - 1
    return (length + mask) & ~mask


def final_padding(sent: int, last: int, full: int, floor: int = FLOOR) -> list[int]:
    """How many zeros go into the last record with content, and into each padding record after it.

    `sent` is the size in bytes of what went before, the response nonce included, `last` that of the last
    record with content, unpadded, and `full` that of a full record, at least `last`. All together then add
    up to PADMÉ(max(floor, sent + last)), in full records but for the last, which has up to 19 bytes more:
    where content ends and padding begins is nowhere to be seen. Usually the list has one entry.
    """
    rest = padme(max(floor, sent + last)) - sent
    sizes: list[int] = []
    while rest >= full + RECORD_OVERHEAD:
        sizes.append(full)
        rest -= full
    first, *more = [*sizes, rest]
    return [first - last, *(size - RECORD_OVERHEAD for size in more)]


def tunnel_padding(part_size: int) -> int:
    """How many zeros go into a tunnel's record for a part of that many bytes: each is padded by itself."""
    unpadded = RECORD_OVERHEAD + part_size
    return padme(max(TUNNEL_FLOOR, unpadded)) - unpadded
