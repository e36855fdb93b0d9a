"""Two runs, figure by figure: what changed by more than the rounds of either run varied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench.figures import Figure, figures
from bench.run import Run
from bench.targets import judged

_LEFT_OUT: Final = ("errors.", "wire_per_content.", "peak_", "held", "capacity", "gap_ms.", "refusal_ms.")
"""Figures that are not compared: most do not change, some vary with everything."""


@dataclass(frozen=True)
class Change:
    """One figure in both runs."""

    comparison: str
    old: Figure
    new: Figure

    @property
    def clear(self) -> bool:
        """Whether there are several rounds in both runs, and they do not overlap."""
        apart = self.old.most < self.new.least or self.new.most < self.old.least
        return apart and min(len(self.old.values), len(self.new.values)) > 1

    @property
    def row(self) -> str:
        """The table's row."""
        where = ", ".join(str(part) for part in (self.comparison, self.old.at, self.old.way) if part != "")
        before, after = self.old.median, self.new.median
        numbers = f"{before:,.4g} | {after:,.4g} | {after / before:.3f}"
        return f"| {where} | {self.old.name} | {numbers} | {'yes' if self.clear else ''} |"


def changes(old: Run, new: Run) -> Iterator[Change]:
    """One for every figure that both runs have."""
    for name, comparison in old["comparisons"].items():
        if name in new["comparisons"]:
            others = {(each.at, each.way, each.name): each for each in figures(new["comparisons"][name])}
            for each in figures(comparison):
                other = others.get((each.at, each.way, each.name))
                if other and each.median and not each.name.startswith(_LEFT_OUT):
                    yield Change(name, each, other)


def compared(old: Run, new: Run, *, everything: bool = False) -> str:
    """Markdown: the targets, which are ratios within either run; then the clear changes, or everything."""
    machines = {"old": old["machine"], "new": new["machine"]}
    lines = [
        f"{each}: {at['time']}, commit {at['commit']}, {at['processor']}" for each, at in machines.items()
    ]
    if len({(at["processor"], at["cores"]) for at in machines.values()}) > 1:
        lines.append("These are different machines: compare only ratios within a run.")
    lines += [
        "",
        *_targets(old, new),
        "",
        "| where | figure | old | new | new / old | clear |",
        "|---|---|---|---|---|---|",
    ]
    lines += [change.row for change in changes(old, new) if everything or change.clear]
    return "\n".join(lines)


def _targets(old: Run, new: Run) -> Iterator[str]:
    yield "| target | aim | old (least-most) | new (least-most) |"
    yield "|---|---|---|---|"
    for (target, before), (_, after) in zip(
        judged(old["comparisons"]), judged(new["comparisons"]), strict=True
    ):
        if after is not None:
            yield f"| {target.what} | {target.aim} | {_written(before)} | {_written(after)} |"


def _written(found: dict[str, float] | None) -> str:
    return f"{found['median']:.3g} ({found['least']:.3g}-{found['most']:.3g})" if found else ""
