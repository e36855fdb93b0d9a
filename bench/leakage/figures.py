"""The figures of a run: a table to read, and one line each in a file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

SHAPES: Final = ("off", "balanced", "strict")


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        row: what it says; the same for all shapes.
        value: with `low` and `high` around it, 95 % of a bootstrap, if there is one.
        target: the most it may be, or the least if `least`; None without a target.
        note: how it was measured.
    """

    row: str
    shape: str
    value: float
    low: float | None = None
    high: float | None = None
    target: float | None = None
    least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.least else self.value <= self.target

    def text(self) -> str:
        """As a cell of the table."""
        around = "" if self.low is None or self.high is None else f" ({self.low:.2f}-{self.high:.2f})"
        if self.target is None:
            return f"{_short(self.value)}{around}"
        sign, verdict = ("≥" if self.least else "≤"), ("" if self.met else " **missed**")
        return f"{_short(self.value)}{around}, {sign} {_short(self.target)}{verdict}"


def table(figures: Sequence[Figure], shapes: Sequence[str] = SHAPES) -> str:
    """A row for each thing measured, a column for each shape, as Markdown."""
    lines = [f"| | {' | '.join(shapes)} |", "|" + "---|" * (len(shapes) + 1)]
    for row in dict.fromkeys(figure.row for figure in figures):
        found = {figure.shape: figure.text() for figure in figures if figure.row == row}
        lines.append(f"| {row} | {' | '.join(found.get(shape, '') for shape in shapes)} |")
    return "\n".join(lines)


def write_csv(figures: Iterable[Figure], path: Path) -> None:
    """One figure a line."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Figure)])
        writer.writeheader()
        writer.writerows(asdict(figure) for figure in figures)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}".removesuffix(".00")
