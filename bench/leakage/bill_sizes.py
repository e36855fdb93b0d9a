"""What the units of a bill add to what the sizes say, for a relay that knows the answers (annex E.4)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final

from bench.leakage.exchanges import of_game
from bench.leakage.figures import Figure
from bench.leakage.traces import Recording
from blindrelay.testbed.trace.texts import pieces
from blindrelay.v1.limits import MILLIONTHS
from blindrelay.v1.units import ladder_neighbours

UNITS_OF_A_TOKEN: Final = 2
"""The price of docs/service.md. The prompt costs nothing here: the relay may know it, and what it costs."""

_MOST: Final = 2.5
_EXACT: Final = 3.0
"""What exact units add at least, or the answers are too much alike to say anything."""

Chances = Mapping[Hashable, float]


def bill_figures(recordings: Sequence[Recording], known: Mapping[int, str]) -> list[Figure]:
    """The bits of units on the ladder, and of exact ones as the control, for each shape with cells."""
    figures = []
    for recording in recordings:
        seen = [
            (trace.label["answer"], tuple(size for _, size in trace.down))
            for trace in recording.of(of_game("identify"))
            if trace.label["answer"] in known
        ]
        if not seen or recording.shape == "off":
            continue
        costs = {answer: len(pieces(known[answer])) * UNITS_OF_A_TOKEN for answer, _ in seen}
        ladder = added(seen, {answer: on_the_ladder(cost) for answer, cost in costs.items()})
        exact = added(seen, {answer: {cost: 1.0} for answer, cost in costs.items()})
        row, control = "bits that a bill's units add to the sizes", "control: bits that exact units add"
        figures.append(Figure(row, recording.shape, ladder, target=_MOST))
        figures.append(Figure(control, recording.shape, exact, target=_EXACT, least=True))
    return figures


def on_the_ladder(units: int) -> Chances:
    """The units that a receipt may have for this cost, and how likely each is."""
    low, high = ladder_neighbours(units * MILLIONTHS)
    above = (units - low) / (high - low)
    return {low: 1 - above, high: above}


def added(seen: Iterable[tuple[int, Hashable]], charged: Mapping[int, Chances]) -> float:
    """What units tell of an answer whose sizes are known, on average, in bits.

    `seen` has the answer and the sizes of each exchange. The result is exact: no coins are drawn.
    """
    by_sizes: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for answer, sizes in seen:
        by_sizes[sizes][answer] += 1
    total = sum(answers.total() for answers in by_sizes.values())
    return sum(answers.total() / total * _told(answers, charged) for answers in by_sizes.values())


def _told(answers: Counter[int], charged: Mapping[int, Chances]) -> float:
    """The information about the answer in the units, among answers of the same sizes."""
    together: dict[Hashable, float] = defaultdict(float)
    by_the_coin = 0.0
    for answer, count in answers.items():
        share = count / answers.total()
        by_the_coin += share * _bits(charged[answer])
        for units, chance in charged[answer].items():
            together[units] += share * chance
    return _bits(together) - by_the_coin


def _bits(chances: Mapping[Hashable, float]) -> float:
    return sum(-chance * math.log2(chance) for chance in chances.values() if chance > 0)
