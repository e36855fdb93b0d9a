"""Comparisons as charts: bars where there are few points, lines along a curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure as Canvas

from bench.figures import Figure

_COLOURS: Final = {
    "#3b6fb6": ("BlindRelay", "our relay"),
    "#86abd9": ("BlindRelay with Envoy", "our relay's Envoy"),
    "#7a7a7a": ("straight to the provider",),
    "#a3478a": ("unsealed, same parts", "bare grpc.aio"),
    "#d9822b": ("Envoy", "LiteLLM's proxy"),
    "#3a9270": ("nginx",),
}
"""One colour for each way in every chart: ours, ours with Envoy, none of ours, and others."""

_SETTINGS: Final[dict[Any, Any]] = {"svg.hashsalt": "blindrelay", "svg.fonttype": "none", "font.size": 9}
"""The same figures give the same file."""

_INCHES: Final = (7.0, 3.4)
_FEW: Final = 3
"""Points up to which bars are drawn."""

Value = tuple[float, float, float]
"""Median, least and most."""


@dataclass(frozen=True)
class Chart:
    """What one chart shows.

    Attributes:
        comparison: by name.
        title: with what is better.
        unit: of the axis.
        figure: the figure's name; with a dot at its end, the sum over all processes except the client.
    """

    comparison: str
    title: str
    unit: str
    figure: str


CHARTS: Final[Sequence[Chart]] = (
    Chart(
        "throughput", "What sealing costs: throughput (more is better)", "exchanges/s", "exchanges_per_second"
    ),
    Chart("added_time", "Time to first token (less is better)", "ms, median", "first_ms.p50"),
    Chart("forwarders_together", "CPU of the forwarder (less is better)", "µs a record", "cpu_us_per_piece."),
    Chart(
        "gateway",
        "CPU between client and provider (less is better)",
        "µs an exchange",
        "cpu_us_per_exchange.",
    ),
    Chart("idle_streams", "Memory of the relay (less is better)", "MiB", "pss_mib"),
    Chart("arrival", "Goodput under overload (more is better)", "exchanges/s", "exchanges_per_second"),
)


def draw(chart: Chart, along: str, figures: Iterable[Figure], path: Path) -> bool:
    """Writes the chart as SVG. False if its figure was not measured."""
    ways = _values(chart, figures)
    if not ways:
        return False
    with matplotlib.rc_context(_SETTINGS):
        canvas = Canvas(figsize=_INCHES, layout="constrained")
        axes = canvas.add_subplot(title=chart.title)
        points = list(dict.fromkeys(at for values in ways.values() for at in values))
        if len(points) > _FEW and all(isinstance(at, int | float) for at in points):
            _lines(axes, ways, along, chart.unit)
        else:
            _bars(axes, ways, points, chart.unit)
        canvas.legend(loc="outside lower center", ncols=len(ways), frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})
    return True


def _values(chart: Chart, figures: Iterable[Figure]) -> dict[str, dict[Any, Value]]:
    """By way and point."""
    found: dict[str, dict[Any, Value]] = defaultdict(dict)
    for each in figures:
        if each.name == chart.figure:
            found[each.way][each.at] = (each.median, each.least, each.most)
        elif _is_part(chart.figure, each.name):
            before = found[each.way].get(each.at, (0.0, 0.0, 0.0))
            found[each.way][each.at] = (
                before[0] + each.median,
                before[1] + each.least,
                before[2] + each.most,
            )
    return found


def _is_part(group: str, name: str) -> bool:
    """Whether a figure belongs to a group of processes, and is not the client's."""
    return group.endswith(".") and name.startswith(group) and not name.endswith(".client")


def _bars(axes: Any, ways: Mapping[str, Mapping[Any, Value]], points: Sequence[Any], unit: str) -> None:
    height = 0.8 / len(ways)
    for number, (way, values) in enumerate(ways.items()):
        places = [place + number * height for place, at in enumerate(points) if at in values]
        medians = [values[at][0] for at in points if at in values]
        spread = [
            [values[at][0] - values[at][1] for at in points if at in values],
            [values[at][2] - values[at][0] for at in points if at in values],
        ]
        axes.barh(places, medians, height, xerr=spread, label=way, color=colour_of(way))
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(points))], [str(at) for at in points])
    axes.invert_yaxis()
    axes.set_xlabel(unit)


def _lines(axes: Any, ways: Mapping[str, Mapping[Any, Value]], along: str, unit: str) -> None:
    for way, values in ways.items():
        axes.plot(
            list(values), [value[0] for value in values.values()], "o-", label=way, color=colour_of(way)
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(along)
    axes.set_ylabel(unit)


def colour_of(way: str) -> str:
    """The colour of a way. Raises KeyError for one that has none yet."""
    for colour, ways in _COLOURS.items():
        if way in ways:
            return colour
    raise KeyError(way)
