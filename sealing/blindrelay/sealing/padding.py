"""The total length of a direction's records: PADMÉ, or coarser (spec/protocol.md, sections 9.3 and 9.6).

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
PoPETs 2019, algorithm 1. It leaks O(log log M) bits of a length and adds at most 12 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FLOOR: Final = 4_096
"""Bytes: the least total of a direction. A short prompt, a short response and an error look alike."""

STRICT_FLOOR: Final = 16_384
"""Bytes: the least total of a direction with the profile STRICT."""

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


def doubled(length: int) -> int:
    """The smallest power of two that is not below `length`: a conversation that grows seldom shows it."""
    return 1 << (length - 1).bit_length()


Rounding = Callable[[int], int]


def final_padding(
    sent: int, last: int, full: int, floor: int = FLOOR, rounded: Rounding = padme
) -> list[int]:
    """How many zeros go into the last record with content, and into each padding record after it.

    `sent` is the size in bytes of what came before that record, the response nonce included. `last` is the
    size of that record, unpadded; `full` is that of a full record, at least `last`. The total is then
    max(floor, sent + last), rounded up. Every record is full except the last one, which may have up to 19
    bytes more, so nobody sees where the content ends. Usually the list has one entry.
    """
    remaining = rounded(max(floor, sent + last)) - sent
    sizes: list[int] = []
    while remaining >= full + RECORD_OVERHEAD:
        sizes.append(full)
        remaining -= full
    first, *more = [*sizes, remaining]
    return [first - last, *(size - RECORD_OVERHEAD for size in more)]


def lone_padding(part_size: int, floor: int) -> int:
    """How many zeros go into a record that is padded alone, for a part of this size."""
    unpadded = RECORD_OVERHEAD + part_size
    return padme(max(floor, unpadded)) - unpadded
