"""From an exact cost to the units of a receipt (spec/protocol.md, annex E.4). Integers only."""

from __future__ import annotations

from typing import Final

from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.receipts_pb2 import ROUNDING_EXACT, ROUNDING_LADDER, ROUNDING_UNSPECIFIED, Rounding

COIN_SIZE: Final = 8
"""Bytes of an exchange's coin."""

_STEPS: Final = (10, 15, 20, 30, 50, 70, 100)
"""Tenths of a decade's beginning. Of the first decade 1.5 is left out, since units are whole."""


def rounded_units(cost: int, rounding: Rounding.ValueType, coin: bytes, max_units: int) -> int:
    """The units for a cost in millionths of a unit, at most `max_units`, which is on the ladder.

    `coin` is the exchange's, 8 bytes, uniform. On the ladder, the expected value is the cost itself. Raises
    ValueError for a cost below 0, a coin of another size, or a rounding that is unknown.
    """
    if cost < 0 or len(coin) != COIN_SIZE:
        raise ValueError("a cost is at least 0, and a coin has 8 bytes")
    if rounding == ROUNDING_EXACT:
        return min(max_units, -(-cost // MILLIONTHS))
    if rounding not in (ROUNDING_UNSPECIFIED, ROUNDING_LADDER):
        raise ValueError(f"unknown rounding {rounding}")
    low, high = ladder_neighbours(cost)
    above = cost - low * MILLIONTHS
    goes_up = int.from_bytes(coin, "big") * (high - low) * MILLIONTHS < above << (8 * COIN_SIZE)
    return min(max_units, high if goes_up else low)


def ladder_neighbours(cost: int) -> tuple[int, int]:
    """The two values of 0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, … units around a cost in millionths.

    The first is at most the cost, the second above it.
    """
    if cost < MILLIONTHS:
        return 0, 1
    decade = 10 ** (len(str(cost // MILLIONTHS)) - 1)
    values = [step * decade // 10 for step in _STEPS if step * decade % 10 == 0]
    high = next(value for value in values if value * MILLIONTHS > cost)
    return values[values.index(high) - 1], high
