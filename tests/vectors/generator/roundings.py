"""Scenarios of rounding: an exchange's coin, and the units that follow from it."""

from __future__ import annotations

from collections.abc import Iterator

from generator.bill_parts import (
    COIN,
    MILLION,
    units_of,
)
from generator.fixed import ALICE, NONCE
from generator.scenario import Scenario

from blindrelay.v1.receipts_pb2 import (
    ROUNDING_EXACT,
    ROUNDING_LADDER,
)


def scenarios() -> Iterator[Scenario]:
    costs = (0, 1, 999_999, MILLION, 1_440 * MILLION, 2_000 * MILLION, 6_500_000, 10**15 + 1, 10**18)
    coins = (bytes(8), b"\x7f" + b"\xff" * 7, b"\x80" + bytes(7), b"\xff" * 8, COIN)
    cases = [
        {
            "cost": cost,
            "rounding": rounding,
            "coin": coin,
            "max_units": max_units,
            "units": units_of(cost, rounding, coin, max_units),
        }
        for cost in costs
        for rounding in (ROUNDING_LADDER, ROUNDING_EXACT)
        for coin in coins
        for max_units in (10**12, 1_000)
    ]
    fields = {
        "exchange_secret": ALICE.secret,
        "envelope_hash": ALICE.envelope_hash,
        "response_nonce": NONCE,
        "coin": COIN,
    }
    yield Scenario(
        "rounding", "coin", "An exchange's coin, and units by several.", "accept", {**fields, "cases": cases}
    )
