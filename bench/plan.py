"""How much is measured: every size and time of a run in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1_024
MIB: Final = 1_048_576


@dataclass(frozen=True)
class Plan:
    """Times are in seconds, sizes in bytes.

    Attributes:
        rounds: of each comparison; each side runs once in a round.
        seconds: the length of one run of one side.
        payloads, concurrencies, idle, rates: points of the curves; rates are multiples of the capacity.
        curve_rounds, curve_seconds: the same for each point of a curve.
        library_seconds: the time for one case of one library in one round.
        large_response: size of the response during which memory is measured.
    """

    name: str
    rounds: int
    seconds: float
    payloads: tuple[int, ...]
    concurrencies: tuple[int, ...]
    idle: tuple[int, ...]
    rates: tuple[float, ...]
    curve_rounds: int
    curve_seconds: float
    library_seconds: float
    large_response: int


FULL: Final = Plan(
    name="full",
    rounds=5,
    seconds=2.0,
    payloads=(256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB),
    concurrencies=(1, 4, 16, 64, 250, 1_000, 2_000),
    idle=(10, 100, 1_000, 5_000, 10_000),
    rates=(0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 2.0),
    curve_rounds=3,
    curve_seconds=1.0,
    library_seconds=0.4,
    large_response=1_024 * MIB,
)
QUICK: Final = Plan(
    name="quick",
    rounds=3,
    seconds=0.35,
    payloads=(256, 4 * KIB, MIB, 16 * MIB),
    concurrencies=(1, 16, 64),
    idle=(10, 500),
    rates=(0.5, 1.0, 2.0),
    curve_rounds=1,
    curve_seconds=0.3,
    library_seconds=0.05,
    large_response=64 * MIB,
)
