"""Scenarios of padding: how much, and how it lies in records."""

from __future__ import annotations

from collections.abc import Iterator

from generator.primitives import padme
from generator.scenario import Scenario

LENGTHS = (
    2, 3, 8, 9, 15, 16, 17, 255, 256, 257, 1_000, 4_095, 4_096, 4_097, 4_224, 4_225, 65_535, 65_536, 65_537,
    100_000, 1_048_576, 1_048_577, 33_554_432, 33_554_433, 1 << 40, (1 << 40) + 1,
)  # fmt: skip


def scenarios() -> Iterator[Scenario]:
    cases = [{"length": length, "padded": padme(length)} for length in LENGTHS]
    yield Scenario(
        "padding", "padme", "PADMÉ of some lengths, without the floor.", "accept", {"cases": cases}
    )
