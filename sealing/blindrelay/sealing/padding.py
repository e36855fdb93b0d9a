"""PADMÉ: the total length of a direction's records (spec/protocol.md, section 9.3).

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
PoPETs 2019, algorithm 1. It leaks O(log log M) bits of a length and adds at most 12 %.
"""

from __future__ import annotations

from typing import Final

FLOOR: Final = 4_096
"""Bytes: the least total of a direction. A short prompt, a short response and an error look alike."""

TUNNEL_FLOOR: Final = 1_024
"""Bytes: the least size of a tunnel's record. Most events of a typed or spoken dialogue look alike."""

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

    `sent` is the size in bytes of what came before that record, the response nonce included. `last` is the
    size of that record, unpadded; `full` is that of a full record, at least `last`. The total is then
    PADMÉ(max(floor, sent + last)). Every record is full except the last one, which may have up to 19 bytes
    more, so nobody sees where the content ends. Usually the list has one entry.
    """
    remaining = padme(max(floor, sent + last)) - sent
    sizes: list[int] = []
    while remaining >= full + RECORD_OVERHEAD:
        sizes.append(full)
        remaining -= full
    first, *more = [*sizes, remaining]
    return [first - last, *(size - RECORD_OVERHEAD for size in more)]


def tunnel_padding(part_size: int) -> int:
    """How many zeros go into a tunnel's record for a part of this size. Each record is padded alone."""
    unpadded = RECORD_OVERHEAD + part_size
    return padme(max(TUNNEL_FLOOR, unpadded)) - unpadded
