"""How models speak: the gaps before each piece of an answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Rhythm:
    """One model's way to speak.

    Attributes:
        rate: pieces a second.
        jitter: of each gap, as the sigma of a lognormal factor.
        burst: pieces that come together, as from speculative decoding.
        pause: chance of a pause of half a second before a piece.
        slows: how much slower the end is than the beginning.
        first: median seconds until the first piece.
    """

    rate: float
    jitter: float = 0.4
    burst: int = 1
    pause: float = 0.0
    slows: float = 1.0
    first: float = 0.5

    def gaps(self, count: int, chance: random.Random) -> list[float]:
        """Milliseconds before each of so many pieces."""
        if not count:
            return []
        gaps = [1_000 * self.first * chance.lognormvariate(0, 0.3)]
        for number in range(1, count):
            gap = self._gap(number / count, chance) if number % self.burst == 0 else 0.0
            gaps.append(round(gap, 2))
        return gaps

    def _gap(self, place: float, chance: random.Random) -> float:
        pause = 500.0 if chance.random() < self.pause else 0.0
        slower = 1 + (self.slows - 1) * place
        return 1_000 * self.burst / self.rate * slower * chance.lognormvariate(0, self.jitter) + pause


USUAL: Final = Rhythm(rate=45)
"""Who gives the known answers, and answers about topics."""

MODELS: Final[Sequence[Rhythm]] = (
    Rhythm(rate=35, jitter=0.05),
    Rhythm(rate=50, jitter=0.8, first=0.8),
    Rhythm(rate=70, burst=4),
    Rhythm(rate=100, jitter=0.1, first=0.25),
    Rhythm(rate=60, pause=0.025),
    Rhythm(rate=90, burst=8, first=0.35),
    Rhythm(rate=45, slows=2.0),
    Rhythm(rate=120, jitter=0.6, first=0.3),
)
