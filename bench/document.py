"""docs/benchmarks.md and its charts, made of a run: nobody writes a figure by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.charts import Series, bars, colour_of, curve
from bench.measuring import Measurement
from bench.results import Comparison
from bench.run import Run
from bench.tables import tables
from bench.targets import target_table

Figure = Callable[[Measurement], float | None]

_PREFACE: Final = Path(__file__).with_name("preface.md")
_AFTERWORD: Final = Path(__file__).with_name("afterword.md")
"""What no run can say of itself: why a figure is what it is."""


@dataclass(frozen=True)
class _Chart:
    title: str
    unit: str
    figure: Figure
    more_is_better: bool = False


def _value(*path: str) -> Figure:
    def find(measured: Measurement) -> float | None:
        value: object = measured
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return float(value) if isinstance(value, int | float) else None

    return find


def _parts_cpu(per: str) -> Figure:
    """Of whatever stands between client and provider."""

    def find(measured: Measurement) -> float | None:
        spent = {name: cost for name, cost in measured[f"cpu_us_per_{per}"].items() if name != "client"}
        return sum(spent.values()) if spent else None

    return find


def _mebibytes(name: str) -> Figure:
    return lambda measured: measured[name] / 2**20


_RATE = _Chart("Throughput", "exchanges a second", _value("exchanges_per_second"), more_is_better=True)
_CPU = _Chart("CPU between client and provider", "µs an exchange", _parts_cpu("exchange"))
_LIBRARY = _Chart("CPU of both ends together", "µs", _value("cpu_us"))

CHARTS: Final[dict[str, Sequence[_Chart]]] = {
    "throughput": (_RATE, _CPU),
    "added_time": (
        _Chart("Time to first token, median", "ms", _value("first_ms", "p50")),
        _Chart("Time to first token, p99", "ms", _value("first_ms", "p99")),
    ),
    "forwarders_together": (_Chart("CPU of the forwarder", "µs a record", _parts_cpu("piece")),),
    "forwarders_apart": (_Chart("CPU of the forwarder", "µs a record", _parts_cpu("piece")),),
    "gateway": (_CPU,),
    "libraries": (_LIBRARY,),
    "record_layer": (_LIBRARY,),
    "sdk": (_Chart("CPU of the application", "µs an exchange", _value("cpu_us_per_exchange", "client")),),
    "upload": (_RATE,),
    "payloads": (_Chart("Time for an exchange, median", "ms", _value("latency_ms", "p50")), _CPU),
    "side_by_side": (_RATE, _Chart("Time to first token, p99", "ms", _value("first_ms", "p99"))),
    "idle_streams": (
        _Chart("Memory of the relay", "MiB", _mebibytes("pss")),
        _Chart("A new exchange among them, p99", "ms", _value("first_ms", "p99")),
    ),
    "workers": (_RATE,),
    "arrival": (
        _Chart("Goodput", "exchanges a second", _value("exchanges_per_second"), more_is_better=True),
        _Chart("Time for an admitted exchange, p99", "ms", _value("latency_ms", "p99")),
    ),
}


def write_document(made: Run, page: Path) -> None:
    """Writes the page, and the charts into a folder beside it."""
    folder = page.parent / page.stem
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    results: dict[str, Comparison] = made["comparisons"]
    sections = [_PREFACE.read_text(), _machine(made), f"## Targets\n\n{target_table(results)}"]
    for name, comparison in results.items():
        sections.append(_section(name, comparison, folder))
    sections.append(_AFTERWORD.read_text())
    page.write_text("\n\n".join(section.strip() for section in sections) + "\n")


def _machine(made: Run) -> str:
    at, plan = made["machine"], made["plan"]
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    return (
        f"## This run\n\n{at['time']}, commit {at['commit']}; {at['processor']}, {at['cores']} cores, "
        f"{at['memory_gib']} GiB, Linux {at['kernel']}, Python {at['python']}; "
        f"load before it {at['load_before']}. Plan *{plan['name']}*: {plan['rounds']} rounds of "
        f"{plan['seconds']:g} s, on curves {plan['curve_rounds']} of {plan['curve_seconds']:g} s. "
        f"Versions: {versions}."
    )


def _section(name: str, comparison: Comparison, folder: Path) -> str:
    written = [f"## {comparison.title}", comparison.about]
    for number, chart in enumerate(CHARTS.get(name, ()), start=1):
        drawn = _drawn(chart, comparison)
        if drawn is not None:
            file = folder / f"{name}-{number}.svg"
            file.write_text(drawn)
            written.append(f"![{chart.title}]({folder.name}/{file.name})")
    written.append(tables(comparison))
    if comparison.limits:
        written.append(f"*What limits these figures:* {comparison.limits}")
    written += [f"*Not measured:* {reason}" for reason in comparison.skipped]
    return "\n\n".join(part for part in written if part)


def _drawn(chart: _Chart, comparison: Comparison) -> str | None:
    series = [_series(side, colour_of(side), chart.figure, comparison) for side in comparison.sides]
    series = [each for each in series if any(value is not None for value in each.values)]
    if not series:
        return None
    places = [point.at for point in comparison.points]
    unit = f"{chart.unit} ({'more' if chart.more_is_better else 'less'} is better)"
    if len(places) > 2 and all(isinstance(place, int | float) for place in places):
        return curve(chart.title, unit, comparison.along, [float(place) for place in places], series)
    return bars(chart.title, unit, [str(place) for place in places], series)


def _series(side: str, colour: str, figure: Figure, comparison: Comparison) -> Series:
    found = [
        [value for run in point.runs.get(side, []) if (value := figure(run)) is not None]
        for point in comparison.points
    ]
    return Series(
        side,
        [statistics.median(values) if values else None for values in found],
        [(min(values), max(values)) if values else None for values in found],
        colour,
    )
