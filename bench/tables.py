"""A comparison as a Markdown table for a terminal: medians over the rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.figures import Figure, figures
from bench.results import Comparison

Cell = Callable[[Mapping[str, Figure]], str]


def table(comparison: Comparison) -> str:
    """A row for each way at each point; "" if nothing was measured."""
    rows: dict[tuple[float | str, str], dict[str, Figure]] = {}
    for figure in figures(comparison):
        rows.setdefault((figure.at, figure.way), {})[figure.name] = figure
    cells = [[show(row) for _, show in _COLUMNS] for row in rows.values()]
    used = [place for place in range(len(_COLUMNS)) if any(row[place] for row in cells)]
    if not used:
        return ""
    along = [comparison.along] if comparison.along else []
    heads = [*along, "way", *(_COLUMNS[place][0] for place in used)]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    for (at, way), row in zip(rows, cells, strict=True):
        place = [f"{at:,}" if isinstance(at, int) else str(at)] if along else []
        lines.append(_line([*place, way, *(row[each] for each in used)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _value(name: str) -> Cell:
    def show(row: Mapping[str, Figure]) -> str:
        if (found := row.get(name)) is None:
            return ""
        return f"{found.median:,.1f} ({found.least:,.1f}-{found.most:,.1f})"

    return show


def _percentiles(group: str) -> Cell:
    def show(row: Mapping[str, Figure]) -> str:
        return " / ".join(f"{each.median:.3g}" for each in _of(group, row).values())

    return show


def _by_name(group: str, digits: int = 0) -> Cell:
    def show(row: Mapping[str, Figure]) -> str:
        found = _of(group, row).items()
        return ", ".join(f"{name} {each.median:,.{digits}f}" for name, each in found).replace("|", "/")

    return show


def _of(group: str, row: Mapping[str, Figure]) -> dict[str, Figure]:
    """The figures of a group, by what follows its name."""
    return {
        name.removeprefix(f"{group}."): each for name, each in row.items() if name.startswith(f"{group}.")
    }


_COLUMNS: Sequence[tuple[str, Cell]] = (
    ("exchanges/s", _value("exchanges_per_second")),
    ("latency ms p50 / p90 / p99 / p99.9", _percentiles("latency_ms")),
    ("first piece", _percentiles("first_ms")),
    ("longest gap ms", _value("longest_gap_ms")),
    ("CPU µs an exchange", _by_name("cpu_us_per_exchange")),
    ("CPU µs a piece", _by_name("cpu_us_per_piece")),
    ("CPU µs", _value("cpu_us")),
    ("peak rise MiB", _by_name("peak_rise_mib", 1)),
    ("memory MiB", _value("pss_mib")),
    ("KiB a stream", _value("pss_per_stream_kib")),
    ("errors", _by_name("errors")),
)
