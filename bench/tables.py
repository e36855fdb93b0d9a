"""A comparison as Markdown tables: medians over the rounds, with the least and the most where it matters."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from bench.measuring import Measurement
from bench.results import Comparison

_PERCENTILES = ("p50", "p90", "p99", "p99.9")

Column = tuple[str, Callable[[Sequence[Measurement]], str]]


def tables(comparison: Comparison) -> str:
    """All that there is to say in figures; "" if nothing was measured."""
    shown = [_table(comparison, columns) for columns in (_RATES, _TIMES, _COSTS, _LIBRARY)]
    return "\n\n".join(table for table in shown if table)


def brief(comparison: Comparison) -> str:
    """One table, for a terminal."""
    columns = _LIBRARY if "cpu_us" in next(_each_run(comparison), {}) else _BRIEF
    return _table(comparison, columns)


def _table(comparison: Comparison, columns: Sequence[Column]) -> str:
    rows = [
        (point.at, side, runs) for point in comparison.points for side, runs in point.runs.items() if runs
    ]
    cells = [[show(runs) for _, show in columns] for _, _, runs in rows]
    used = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    if not used:
        return ""
    along = [comparison.along] if comparison.along else []
    heads = [*along, "way", *(columns[place][0] for place in used)]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    for (at, side, _), row in zip(rows, cells, strict=True):
        place = [_place(at)] if along else []
        lines.append(_line([*place, side, *(row[each] for each in used)]))
    return "\n".join(lines)


def _place(at: float | str) -> str:
    return f"{at:,}" if isinstance(at, int) else str(at)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _each_run(comparison: Comparison) -> Any:
    return (run for point in comparison.points for runs in point.runs.values() for run in runs)


def median(runs: Sequence[Measurement], *path: str) -> float | None:
    """Of a figure over the rounds; None where no round has it."""
    found = [value for run in runs if (value := _at(run, path)) is not None]
    return statistics.median(found) if found else None


def _at(run: Measurement, path: Sequence[str]) -> float | None:
    value: Any = run
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, float | int) else None


def _figure(digits: int, *path: str, scale: float = 1.0) -> Callable[[Sequence[Measurement]], str]:
    def show(runs: Sequence[Measurement]) -> str:
        value = median(runs, *path)
        return "" if value is None else f"{value * scale:,.{digits}f}"

    return show


def _spread(digits: int, *path: str) -> Callable[[Sequence[Measurement]], str]:
    def show(runs: Sequence[Measurement]) -> str:
        found = [value for run in runs if (value := _at(run, path)) is not None]
        if not found:
            return ""
        least, most = min(found), max(found)
        return f"{statistics.median(found):,.{digits}f} ({least:,.{digits}f}-{most:,.{digits}f})"

    return show


def _percentiles(name: str) -> Callable[[Sequence[Measurement]], str]:
    def show(runs: Sequence[Measurement]) -> str:
        values = [median(runs, name, percentile) for percentile in _PERCENTILES]
        return " / ".join("-" if value is None else f"{value:.3g}" for value in values) if any(values) else ""

    return show


def _by_process(per: str) -> Callable[[Sequence[Measurement]], str]:
    def show(runs: Sequence[Measurement]) -> str:
        names = runs[0].get(per, {})
        return ", ".join(f"{name} {median(runs, per, name):,.0f}" for name in names)

    return show


def _memory(runs: Sequence[Measurement]) -> str:
    names = runs[0].get("memory", {})
    return ", ".join(f"{name} {(median(runs, 'memory', name, 'peak') or 0) / 2**20:.0f}" for name in names)


def _peak_rise(runs: Sequence[Measurement]) -> str:
    names = runs[0].get("peak_rise", {})
    return ", ".join(f"{name} {(median(runs, 'peak_rise', name) or 0) / 2**20:.1f}" for name in names)


def _wire(direction: str) -> Callable[[Sequence[Measurement]], str]:
    def show(runs: Sequence[Measurement]) -> str:
        wire = sum(_at(run, ("wire", direction)) or 0 for run in runs)
        content = sum(_at(run, ("content", direction)) or 0 for run in runs)
        return f"{wire / content:.3f}" if wire and content else ""

    return show


def _errors(runs: Sequence[Measurement]) -> str:
    counts: dict[str, int] = {}
    for run in runs:
        for name, count in run.get("errors", {}).items():
            counts[name] = counts.get(name, 0) + count
    return ", ".join(f"{count} {name}" for name, count in counts.items()).replace("|", "/")


_RATES: Sequence[Column] = (
    ("exchanges/s", _spread(1, "exchanges_per_second")),
    ("capacity", _figure(1, "capacity")),
    ("wire/content up", _wire("sent")),
    ("wire/content down", _wire("received")),
    ("errors", _errors),
)
_TIMES: Sequence[Column] = (
    ("latency ms p50 / p90 / p99 / p99.9", _percentiles("latency_ms")),
    ("first piece", _percentiles("first_ms")),
    ("between pieces", _percentiles("gap_ms")),
    ("refusal", _percentiles("refusal_ms")),
)
_COSTS: Sequence[Column] = (
    ("CPU µs an exchange", _by_process("cpu_us_per_exchange")),
    ("CPU µs a piece", _by_process("cpu_us_per_piece")),
    ("peak MiB", _memory),
    ("peak rise MiB", _peak_rise),
    ("held", _figure(0, "held")),
    ("relay PSS MiB", _figure(1, "pss", scale=2**-20)),
    ("KiB a stream", _figure(1, "pss_per_stream", scale=2**-10)),
)
_LIBRARY: Sequence[Column] = (("CPU µs", _spread(1, "cpu_us")),)
_BRIEF: Sequence[Column] = (
    ("exchanges/s", _spread(1, "exchanges_per_second")),
    ("latency ms p50 / p90 / p99 / p99.9", _percentiles("latency_ms")),
    ("first piece", _percentiles("first_ms")),
    ("CPU µs an exchange", _by_process("cpu_us_per_exchange")),
    ("CPU µs a piece", _by_process("cpu_us_per_piece")),
    ("peak rise MiB", _peak_rise),
    ("KiB a stream", _figure(1, "pss_per_stream", scale=2**-10)),
    ("errors", _errors),
)
