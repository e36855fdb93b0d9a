"""A comparison as charts in SVG, written by hand: bars where there is one point, lines along a curve.

They carry their own colours, for light and dark pages alike, and every value also stands in a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_COLOURS: Final = {
    "#3b6fb6": ("BlindRelay", "BlindRelay's record layer", "our relay", "openai SDK, sealed"),
    "#7a7a7a": ("straight to the provider", "raw gRPC, no bridge", "openai SDK", "PyNaCl's secretstream"),
    "#a3478a": ("unsealed, same parts", "bare grpc.aio"),
    "#d9822b": ("Envoy", "LiteLLM's proxy", "hpke-http"),
    "#3a9270": ("nginx", "tinfoil-ehbp"),
}
"""One colour for each side in every chart: ours, what there is without us, and others."""

_WIDTH: Final = 760
_LEFT: Final = 64
_RIGHT: Final = 24
_TOP: Final = 64
_PLOT_HEIGHT: Final = 240
_BAR: Final = 18
_BAR_GAP: Final = 4
_GROUP_GAP: Final = 20
_LABELS: Final = 210
"""Where bars begin, right of their labels."""

_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}"
    ".small{font-size:12px;fill:#57606a}.grid{stroke:#d0d7de;stroke-width:1}"
)


@dataclass(frozen=True)
class Series:
    """One side: its values in the order of the places; None where there is none.

    `spreads` are the least and the most at each place.
    """

    name: str
    values: Sequence[float | None]
    spreads: Sequence[tuple[float, float] | None]
    colour: str


def colour_of(side: str) -> str:
    """The colour of a side. Raises KeyError for one that has none yet."""
    for colour, sides in _COLOURS.items():
        if side in sides:
            return colour
    raise KeyError(side)


def bars(title: str, unit: str, places: Sequence[str], series: Sequence[Series]) -> str:
    """Horizontal bars, grouped by place, with the value and a whisker from the least to the most."""
    most = max((spread[1] for each in series for spread in each.spreads if spread), default=1.0) or 1.0
    room = _WIDTH - _LABELS - _RIGHT - 70
    drawn, top = [], _TOP
    for place, label in enumerate(places):
        drawn.append(_text(_LABELS - 8, top + 13, label, "end"))
        for each in series:
            value, spread = each.values[place], each.spreads[place]
            if value is None or spread is None:
                continue
            length = value / most * room
            size = f'width="{length:.1f}" height="{_BAR}"'
            drawn.append(f'<rect x="{_LABELS}" y="{top}" {size} fill="{each.colour}"/>')
            low, high = (_LABELS + end / most * room for end in spread)
            middle = top + _BAR / 2
            drawn.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#24292f" stroke-width="1.5"/>')
            drawn.append(_text(max(high, _LABELS + length) + 6, top + 14, short(value)))
            top += _BAR + _BAR_GAP
        top += _GROUP_GAP - _BAR_GAP
    return _page(title, unit, series, "".join(drawn), top + 4)


def curve(title: str, unit: str, along: str, places: Sequence[float], series: Sequence[Series]) -> str:
    """Lines over a logarithmic axis to the right, and one upwards, too, if the values span a hundredfold."""
    wide = max(places) >= 20 * min(places)
    across = _Scale(min(places), max(places), _LEFT, _WIDTH - _RIGHT, logarithmic=wide)
    found = [value for each in series for value in each.values if value is not None]
    least, most = min(found, default=0.0), max(found, default=1.0)
    tall = least > 0 and most / least > 100
    bottom = _TOP + _PLOT_HEIGHT
    up = _Scale(least if tall else 0.0, most, bottom, _TOP, logarithmic=tall)
    drawn = []
    for tick in up.ticks():
        y = up.at(tick)
        drawn.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        drawn.append(_text(_LEFT - 8, y + 4, short(tick), "end", "small"))
    for place in places:
        drawn.append(_text(across.at(place), bottom + 18, short(place), "middle", "small"))
    drawn.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 38, along, "middle", "small"))
    drawn += [_line(places, each, across, up) for each in series]
    return _page(title, unit, series, "".join(drawn), bottom + 50)


def _line(places: Sequence[float], series: Series, across: _Scale, up: _Scale) -> str:
    points = [
        (across.at(place), up.at(value))
        for place, value in zip(places, series.values, strict=True)
        if value is not None
    ]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{series.colour}"/>' for x, y in points)
    return f'<polyline points="{way}" fill="none" stroke="{series.colour}" stroke-width="2"/>{dots}'


@dataclass(frozen=True)
class _Scale:
    least: float
    most: float
    start: float
    end: float
    logarithmic: bool

    def at(self, value: float) -> float:
        low, high, here = self.least, self.most, value
        if self.logarithmic:
            low, high, here = (math.log10(max(each, 1e-9)) for each in (low, high, here))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.least)), math.floor(math.log10(self.most))
            return [10.0**power for power in range(first, last + 1)]
        step = 10 ** math.floor(math.log10(self.most or 1))
        step = next(size for size in (step / 5, step / 2, step, step * 2) if self.most / size <= 6)
        return [step * number for number in range(int(self.most / step) + 1)]


def short(value: float) -> str:
    """A number for a chart: three digits, with k or M from ten thousand on; sizes in binary stay exact."""
    if value >= 1_024 and math.log2(value).is_integer():
        return f"{value / 2**20:g} Mi" if value >= 2**20 else f"{value / 2**10:g} Ki"
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (letter == "M" and value >= size):
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _page(title: str, unit: str, series: Sequence[Series], drawn: str, height: float) -> str:
    legend, x = [], 16.0
    for each in series:
        legend.append(f'<rect x="{x}" y="38" width="11" height="11" rx="2" fill="{each.colour}"/>')
        legend.append(_text(x + 16, 48, each.name, css="small"))
        x += 32 + 6.6 * len(each.name)
    heading = f'<text class="title" x="16" y="24">{escape(title)}, {escape(unit)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{heading}{"".join(legend)}{drawn}</svg>\n'
    )


def _text(x: float, y: float, words: str, anchor: str = "start", css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
