"""PADMÉ: how long a direction's records are made, together (spec/protocol.md, section 9.3).

Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
PoPETs 2019, algorithm 1. It leaks O(log log M) bits of a length and costs at most 12 %.
"""

from __future__ import annotations

from typing import Final

from blindrelay.v1.limits import MAX_SEALED_SIZE

FLOOR: Final = 4_096
"""Bytes: the least that a direction adds up to. A short prompt, a short answer and an error look alike."""

RECORD_OVERHEAD: Final = 21
"""Bytes that a record adds to its part: a tag byte and MAC (17), the part's length (4)."""


def padme(length: int) -> int:
    """The padded length for `length` ≥ 2 bytes: a mantissa of no more bits than its exponent needs."""
    exponent = length.bit_length() - 1
    loose_bits = exponent - exponent.bit_length()
    mask = (1 << loose_bits) - 1
    return (length + mask) & ~mask


def final_padding(sent: int, last: int, floor: int = FLOOR) -> list[int]:
    """How many zeros go into the last record with content, and into each padding record after it.

    `sent` is the size in bytes of the records so far, `last` that of the last one without padding. All
    together then add up to PADMÉ(max(floor, sent + last)). Usually the list has one entry.
    """
    target = padme(max(floor, sent + last))
    room = MAX_SEALED_SIZE - last
    while room < target - sent - last < RECORD_OVERHEAD:
        target = padme(target + 1)  # too much for the last record, too little for another one
    missing = target - sent - last
    if missing <= room:
        return [missing]
    zeros = [min(room, missing - RECORD_OVERHEAD)]
    missing -= zeros[0]
    while missing:
        size = missing if missing <= MAX_SEALED_SIZE else min(MAX_SEALED_SIZE, missing - RECORD_OVERHEAD)
        zeros.append(size - RECORD_OVERHEAD)
        missing -= size
    return zeros
