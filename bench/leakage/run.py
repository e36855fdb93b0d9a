"""A run of the lab: record, play, count, write."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.chain import ROOT
from bench.leakage.bill_sizes import bill_figures
from bench.leakage.controls import speculative
from bench.leakage.costs import byte_figures, cpu_figures
from bench.leakage.exchanges import of_game, replays
from bench.leakage.figures import SHAPES, Figure, table, write_csv
from bench.leakage.games import play
from bench.leakage.idle_costs import idle_figures
from bench.leakage.plan import Plan
from bench.leakage.plots import draw_answer, draw_figures
from bench.leakage.request_sizes import request_figures
from bench.leakage.traces import Recording, Trace, load_traces, record_all
from bench.leakage.tunnels import record_tunnels
from bench.machine import machine

BUILD: Final = ROOT / "build" / "leakage"
DOCUMENTS: Final = ROOT / "docs" / "benchmarks" / "leakage"
PAGE: Final = ROOT / "docs" / "leakage.md"
PICTURE: Final = ROOT / "docs" / "images" / "leakage.png"

_BEGIN: Final = "<!-- begin of the figures -->\n"
_END: Final = "<!-- end of the figures -->\n"
"""Around what a run writes into the page."""

_SHOWN_MODEL: Final = 4
"""Who says the answer in the picture: words at a rate, and pauses."""
_SHOWN_MILLISECONDS: Final = 4_500


@dataclass(frozen=True)
class Given:
    """What the command line asks for.

    Attributes:
        plan: how much is recorded.
        texts: a folder or file of known answers, or None for what there is.
        traces: by shape, files to play with instead of recording.
        seed: of texts, gaps and attacks.
        document: whether to write the page's table, data and pictures.
    """

    plan: Plan
    texts: Path | None
    traces: dict[str, Path]
    seed: int
    document: bool


def run(given: Given) -> list[Figure]:
    """Plays all games. Prints the table. Raises TestbedError; ValueError for wrong texts or traces."""
    began = time.monotonic()
    figures, recordings = _figures(given)
    made = table(figures)
    print(f"{_about(given, recordings, time.monotonic() - began)}\n\n{made}")
    if given.document:
        _write(figures, recordings, f"{_about(given, recordings, time.monotonic() - began)}\n\n{made}\n")
    return figures


def lost_controls(figures: Sequence[Figure]) -> list[str]:
    """Controls that an attack had to win and did not: without them the rest says nothing.

    Of several attacks in one game, the best one counts.
    """
    best: dict[str, bool] = {}
    for figure in figures:
        if figure.least:
            game = figure.row.rpartition(", ")[0] or figure.row
            best[game] = best.get(game, False) or bool(figure.met)
    return [game for game, won in best.items() if not won]


def _figures(given: Given) -> tuple[list[Figure], list[Recording]]:
    recordings = _recordings(given)
    figures: list[Figure] = []
    for recording in recordings:
        figures += play(recording, given.seed, _tell)
    _, said = replays(given.plan, given.texts, given.seed)
    known = {each.label["answer"]: each.text for each in said if of_game("identify")(each.label)}
    figures += speculative(list(known.values()), given.plan.draws, given.seed)
    figures += request_figures(given.seed)
    figures += bill_figures(recordings, known)
    figures += byte_figures(recordings)
    if given.plan.cpu_rounds:
        figures += cpu_figures(given.plan, given.seed, _tell)
        figures += idle_figures(given.plan, _tell)
    return figures, recordings


def _recordings(given: Given) -> list[Recording]:
    if given.traces:
        return [Recording(shape, load_traces(path)) for shape, path in given.traces.items()]
    name, said = replays(given.plan, given.texts, given.seed)
    _tell(f"{len(said)} answers in each of {len(SHAPES)} shapes; the known answers are of {name}")
    recordings = record_all(said, SHAPES, given.plan, BUILD)
    record_tunnels(recordings, given.plan, given.seed, BUILD, _tell)
    return recordings


def _about(given: Given, recordings: Sequence[Recording], seconds: float) -> str:
    at = machine()
    return (
        f"Plan {given.plan.name}, seed {given.seed}, {at['processor']}, {at['cores']} cores, "
        f"Python {at['python']}, load before {at['load_before']}, {seconds / 60:.0f} minutes. "
        f"{'; '.join(map(_recorded, recordings))}."
    )


def _recorded(recording: Recording) -> str:
    said = f"{recording.shape}: {len(recording.traces):,} exchanges"
    if not recording.seconds:
        return f"{said} from a file"
    return f"{said} in {recording.seconds:.0f} s, load {recording.load[0]:.1f} to {recording.load[1]:.1f}"


def _write(figures: Sequence[Figure], recordings: Sequence[Recording], text: str) -> None:
    DOCUMENTS.mkdir(parents=True, exist_ok=True)
    write_csv(figures, DOCUMENTS / "figures.csv")
    before, begin, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")
    draw_figures(figures, DOCUMENTS / "figures.svg")
    shown = _shown(recordings)
    if set(shown) == set(SHAPES):
        draw_answer(shown, PICTURE)


def _shown(recordings: Sequence[Recording]) -> dict[str, Trace]:
    """One answer in each shape: one that takes about as long as the picture is wide."""
    said = {
        recording.shape: {
            trace.label["prompt"]: trace
            for trace in recording.of(of_game("model"))
            if trace.label["model"] == _SHOWN_MODEL
        }
        for recording in recordings
    }
    if not said.get("off"):
        return {}
    length = {prompt: max(at for at, _ in trace.down) for prompt, trace in said["off"].items()}
    best = min(length, key=lambda prompt: abs(length[prompt] - _SHOWN_MILLISECONDS))
    return {shape: traces[best] for shape, traces in said.items() if best in traces}


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
