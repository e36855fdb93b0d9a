"""Two runs, figure by figure: what moved, and by more than the rounds of either varied."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.measuring import Measurement
from bench.results import Comparison
from bench.run import Run

_FIGURES = (
    ("exchanges_per_second",),
    ("latency_ms", "p50"),
    ("latency_ms", "p99"),
    ("first_ms", "p50"),
    ("first_ms", "p99"),
    ("cpu_us_per_exchange",),
    ("cpu_us_per_piece",),
    ("pss",),
    ("cpu_us",),
)


@dataclass(frozen=True)
class Change:
    """One figure in both runs: their values over the rounds."""

    where: str
    figure: str
    old: Sequence[float]
    new: Sequence[float]

    @property
    def ratio(self) -> float:
        """New over old, medians."""
        return statistics.median(self.new) / statistics.median(self.old)

    @property
    def row(self) -> str:
        """Of the table."""
        before, after = statistics.median(self.old), statistics.median(self.new)
        figures = f"{before:,.4g} | {after:,.4g} | {self.ratio:.3f}"
        return f"| {self.where} | {self.figure} | {figures} | {'yes' if self.clear else ''} |"

    @property
    def clear(self) -> bool:
        """Whether the rounds of both do not overlap, and there are several."""
        apart = max(self.old) < min(self.new) or max(self.new) < min(self.old)
        return apart and min(len(self.old), len(self.new)) > 1


def changes(old: Run, new: Run) -> Iterator[Change]:
    """Of every figure that both runs have."""
    for name, before in old["comparisons"].items():
        after = new["comparisons"].get(name)
        if after is not None:
            yield from _in_comparison(name, before, after)


def compared(old: Run, new: Run, *, everything: bool = False) -> str:
    """A Markdown table of what clearly changed, or of everything."""
    machines = [run["machine"] for run in (old, new)]
    lines = [
        f"{each}: {at['time']}, commit {at['commit']}, {at['processor']}"
        for each, at in zip(("old", "new"), machines, strict=True)
    ]
    if len({(at["processor"], at["cores"]) for at in machines}) > 1:
        lines.append("Not the same machine: only ratios within a run compare.")
    lines += ["", "| where | figure | old | new | new / old | clear |", "|---|---|---|---|---|---|"]
    for change in changes(old, new):
        if everything or change.clear:
            lines.append(change.row)
    return "\n".join(lines)


def _in_comparison(name: str, before: Comparison, after: Comparison) -> Iterator[Change]:
    for point in before.points:
        for side, runs in point.runs.items():
            others = after.runs(side, point.at)
            where = ", ".join(str(part) for part in (name, point.at, side) if part != "")
            for path in _paths(runs):
                was, now = _values(runs, path), _values(others, path)
                if was and now and statistics.median(was):
                    yield Change(where, " ".join(path), was, now)


def _paths(runs: Sequence[Measurement]) -> Iterator[tuple[str, ...]]:
    for path in _FIGURES:
        inside = runs[0].get(path[0]) if runs else None
        if len(path) == 1 and isinstance(inside, dict):
            yield from ((path[0], process) for process in inside)
        else:
            yield path


def _values(runs: Sequence[Measurement], path: Sequence[str]) -> list[float]:
    found = []
    for run in runs:
        value: object = run
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found.append(float(value))
    return found
