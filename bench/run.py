"""A run: the comparisons one after the other. One that fails is reported, and the rest go on."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.comparisons import COMPARISONS
from bench.machine import machine
from bench.plan import Plan
from bench.results import Comparison
from bench.session import Session

Run = dict[str, Any]
"""{"machine": …, "plan": …, "comparisons": {NAME: Comparison}}, as read_run() gives it."""


def run(plan: Plan, names: Iterable[str], out: Path) -> Run:
    """Makes the named comparisons, and writes the results so far after each."""
    made: Run = {"machine": machine(), "plan": asdict(plan), "comparisons": {}}
    with Session(plan) as session:
        for name in names:
            began = perf_counter()
            comparison = _one(name, plan, session)
            comparison.seconds = perf_counter() - began
            made["comparisons"][name] = comparison
            write_run(made, out)
            said = f"{name}: {comparison.seconds:.0f} s"
            print(said, *comparison.skipped, sep="\n  ", file=sys.stderr, flush=True)
    return made


def _one(name: str, plan: Plan, session: Session) -> Comparison:
    try:
        return COMPARISONS[name](plan, session)
    except Exception as error:
        session.forget()
        traceback.print_exc()
        return Comparison(name, "", "", skipped=[f"everything: {type(error).__name__}: {str(error)[:300]}"])


def write_run(made: Run, path: Path) -> None:
    """Writes a run as JSON."""
    comparisons = {name: asdict(comparison) for name, comparison in made["comparisons"].items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**made, "comparisons": comparisons}, indent=1, ensure_ascii=False) + "\n")


def read_run(path: Path) -> Run:
    """Reads what write_run() wrote. Raises OSError, ValueError, TypeError."""
    made: Run = json.loads(path.read_text())
    comparisons = {name: Comparison.from_dict(given) for name, given in made["comparisons"].items()}
    return {**made, "comparisons": comparisons}
