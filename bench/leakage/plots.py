"""Pictures: what the attacks win, and what a relay sees of one answer in each shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
from matplotlib.figure import Figure as Canvas

from bench.leakage.figures import SHAPES, Figure
from bench.leakage.traces import Trace

_COLOURS: Final = {"off": "#d9822b", "balanced": "#3b6fb6", "strict": "#3a9270"}
_TITLES: Final = {"off": "shape=off", "balanced": "shape=balanced (the default)", "strict": "shape=strict"}
_SETTINGS: Final[dict[Any, Any]] = {"svg.hashsalt": "blindrelay", "svg.fonttype": "none", "font.size": 9}
_SECONDS: Final = 6.4


def draw_figures(figures: Sequence[Figure], path: Path) -> None:
    """What the attacks win in each shape, against chance, as SVG."""
    rows = [
        row
        for row in dict.fromkeys(figure.row for figure in figures)
        if row.startswith("name ") or "AUPRC" in row
    ]
    with matplotlib.rc_context(_SETTINGS):
        canvas = Canvas(figsize=(7.5, 0.7 + 0.55 * len(rows)), layout="constrained")
        axes = canvas.add_subplot(title="What an attacker at the relay wins (less is better)")
        for place, shape in enumerate(SHAPES):
            found = [
                (number, figure)
                for number, row in enumerate(rows)
                for figure in figures
                if figure.row == row and figure.shape == shape
            ]
            axes.barh(
                [number + place * 0.27 for number, _ in found],
                [max(0.0, figure.value) for _, figure in found],
                0.25,
                label=shape,
                color=_COLOURS[shape],
            )
        axes.set_yticks([number + 0.27 for number in range(len(rows))], [_broken(row) for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        canvas.legend(loc="outside lower center", ncols=len(SHAPES), frameon=False)
        canvas.savefig(path, format="svg", metadata={"Date": None})


def draw_answer(traces: Mapping[str, Trace], path: Path) -> None:
    """The same answer in each shape: a line for each record to the client, as high as it is large. A PNG."""
    with matplotlib.rc_context(_SETTINGS):
        canvas = Canvas(figsize=(7.5, 3.6), layout="constrained", dpi=110)
        canvas.suptitle("What the relay sees of one answer: time and size of each sealed record")
        for place, shape in enumerate(SHAPES, 1):
            axes = canvas.add_subplot(len(SHAPES), 1, place)
            shown = [(at / 1_000, size) for at, size in traces[shape].down if at <= 1_000 * _SECONDS]
            axes.vlines([at for at, _ in shown], 0, [size for _, size in shown], color=_COLOURS[shape], lw=1)
            axes.set_title(_TITLES[shape], loc="left", fontsize=9, color=_COLOURS[shape])
            axes.set_xlim(0, _SECONDS)
            axes.set_ylim(0, 1.15 * max(size for _, size in shown))
            axes.set_ylabel("bytes")
            axes.spines[["top", "right"]].set_visible(False)
            if place < len(SHAPES):
                axes.set_xticklabels([])
        axes.set_xlabel("seconds since the request")
        canvas.savefig(path, format="png")


def _broken(row: str) -> str:
    """A long name on two lines."""
    before, comma, after = row.rpartition(", ")
    return f"{before}\n{after}" if comma else row
