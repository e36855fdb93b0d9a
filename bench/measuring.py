"""One run of a load with what it cost in each process; and two or more ways in turn, round by round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.chain import Generator
from bench.probes import cpu_seconds, memory
from bench.work import Work

Measurement = dict[str, Any]
"""What a generator says of a run (bench/loops.py), and "cpu_us_per_exchange", "cpu_us_per_piece" and
"memory", by process; the generator is "client"."""


@dataclass(frozen=True)
class Side:
    """One of those compared.

    Attributes:
        name: as the tables show it.
        generator: loads it.
        pids: the processes it passes through, by the name under which their cost is reported.
    """

    name: str
    generator: Generator
    pids: Mapping[str, int] = field(default_factory=dict)

    def measure(self, order: Mapping[str, Any]) -> Measurement:
        """Runs an order (bench/load.py)."""
        processes = {**self.pids, "client": self.generator.pid}
        before = {name: cpu_seconds(pid) for name, pid in processes.items()}
        outcome = self.generator.ask(order)
        spent = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
        return {
            **outcome,
            "cpu_us_per_exchange": _each(spent, outcome["exchanges"]),
            "cpu_us_per_piece": _each(spent, outcome["pieces"]),
            "memory": {name: asdict(memory(pid)) for name, pid in processes.items()},
        }


def closed(work: Work, concurrency: int, seconds: float, at_most: int | None = None) -> dict[str, Any]:
    """The order for a closed loop."""
    limits = {"concurrency": concurrency, "seconds": seconds, "at_most": at_most}
    return {"do": "closed", "work": asdict(work), **limits}


def opened(work: Work, rate: float, seconds: float) -> dict[str, Any]:
    """The order for an open loop."""
    return {"do": "open", "work": asdict(work), "rate": rate, "seconds": seconds}


def interleaved(
    sides: Sequence[Side], order: Mapping[str, Any], rounds: int, warm: Mapping[str, Any] | None = None
) -> dict[str, list[Measurement]]:
    """A B A B …: each side once in every round, so that a change of the machine's speed affects all of them.

    Every second round runs in reverse order. Each side first runs `warm`, which is not counted.
    """
    for side in sides:
        side.measure(warm or {**order, "seconds": min(0.3, order["seconds"])})
    runs: dict[str, list[Measurement]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            runs[side.name].append(side.measure(order))
    return runs


def ratio(
    over: Sequence[Measurement],
    under: Sequence[Measurement],
    figure: Callable[[Measurement], float],
    under_figure: Callable[[Measurement], float] | None = None,
) -> dict[str, float] | None:
    """A figure of one side over the other's, round by round: median, least, most. None if there is none.

    `under_figure` is the other side's, if it has another name there.
    """
    pairs = [(figure(a), (under_figure or figure)(b)) for a, b in zip(over, under, strict=True)]
    return spread([a / b for a, b in pairs if b])


def difference(
    over: Sequence[Measurement], under: Sequence[Measurement], figure: Callable[[Measurement], float]
) -> dict[str, float] | None:
    """As ratio(), with the difference."""
    return spread([figure(a) - figure(b) for a, b in zip(over, under, strict=True)])


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median, least and most; None for no values."""
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def _each(spent: Mapping[str, float], count: int) -> dict[str, float]:
    return {name: seconds / count * 1e6 for name, seconds in spent.items()} if count else {}
