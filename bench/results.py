"""A comparison's result: its points, and at each point the runs of every side. All of it is JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.measuring import Measurement


@dataclass
class Point:
    """The runs of every side at one place of a curve, or of a comparison that has only one.

    Attributes:
        at: the place, in the unit of the comparison's `along`.
        runs: by side, in the order of the rounds.
    """

    at: float | str
    runs: dict[str, list[Measurement]]


@dataclass
class Comparison:
    """One comparison.

    Attributes:
        title: a heading.
        about: what is sent, and how; a sentence or two.
        limits: what limits its figures.
        along: what the points differ in, with the unit; "" if there is one.
        skipped: sides, or all of it, that could not be measured, and why.
    """

    title: str
    about: str
    limits: str
    along: str = ""
    points: list[Point] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Comparison:
        """From JSON. Raises TypeError for an unknown name."""
        points = [Point(**point) for point in given.pop("points")]
        return cls(**given, points=points)

    def runs(self, side: str, at: float | str | None = None) -> list[Measurement]:
        """The runs of a side, at the first point or at the one named; empty if there are none."""
        for point in self.points:
            if at is None or point.at == at:
                return point.runs.get(side, [])
        return []

    @property
    def sides(self) -> Sequence[str]:
        """Every side that was measured anywhere."""
        return list(dict.fromkeys(side for point in self.points for side in point.runs))
