"""A comparison's figures, each over all rounds: the source of tables, charts and data files."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measuring import Measurement
from bench.plan import KIB, MIB
from bench.results import Comparison

_SINGLE = ("exchanges_per_second", "capacity", "held", "cpu_us", "longest_gap_ms")
_LATENCIES = ("latency_ms", "first_ms", "gap_ms", "refusal_ms")
_PERCENTILES = ("p50", "p90", "p99", "p99.9")
_BY_NAME = ("cpu_us_per_exchange", "cpu_us_per_piece", "errors")

COLUMNS = ("at", "way", "figure", "median", "least", "most")


@dataclass(frozen=True)
class Figure:
    """One figure of one way at one point; `values` has one for each round.

    The name carries the unit, and after a dot the percentile, process or direction: ``latency_ms.p50``.
    """

    at: float | str
    way: str
    name: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


def figures(comparison: Comparison) -> Iterator[Figure]:
    """Every figure of a comparison, in the order of its points and ways."""
    for point in comparison.points:
        for way, runs in point.runs.items():
            measured = [_figures_of(run) for run in runs]
            for name in dict.fromkeys(name for run in measured for name in run):
                yield Figure(point.at, way, name, [run[name] for run in measured if name in run])


def _figures_of(run: Measurement) -> dict[str, float]:
    found: dict[str, float] = {name: run[name] for name in _SINGLE if name in run}
    for group in _LATENCIES:
        found |= {f"{group}.{name}": run[group][name] for name in _PERCENTILES if name in run.get(group, {})}
    for group in _BY_NAME:
        found |= {f"{group}.{name}": value for name, value in run.get(group, {}).items()}
    for direction, size in run.get("content", {}).items():
        if size and "wire" in run:
            found[f"wire_per_content.{direction}"] = run["wire"][direction] / size
    found |= {f"peak_mib.{name}": each["peak"] / MIB for name, each in run.get("memory", {}).items()}
    found |= {f"peak_rise_mib.{name}": rise / MIB for name, rise in run.get("peak_rise", {}).items()}
    if "pss" in run:
        found["pss_mib"] = run["pss"] / MIB
    if "pss_per_stream" in run:
        found["pss_per_stream_kib"] = run["pss_per_stream"] / KIB
    return found


def write_figures(comparison: Comparison, path: Path) -> None:
    """Writes them as CSV, a figure a line, with four significant digits."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for each in figures(comparison):
            numbers = [f"{value:.4g}" for value in (each.median, each.least, each.most)]
            writer.writerow([each.at, each.way, each.name, *numbers])
