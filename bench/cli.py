"""The command `python -m bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.chain import ROOT
from bench.comparisons import COMPARISONS
from bench.plan import FULL, QUICK
from bench.run import Run, read_run, run
from bench.tables import brief
from bench.targets import target_table

RESULTS = ROOT / "build" / "bench"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code: 1 if a comparison failed altogether."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure BlindRelay beside what people use."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_targets(commands)
    arguments = parser.parse_args(argv)
    code: int = arguments.do(arguments)
    return code


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("run", help="measure, write JSON, print tables and targets")
    command.add_argument("--quick", action="store_true", help="in less than three minutes")
    command.add_argument(
        "--only", nargs="+", choices=COMPARISONS, metavar="NAME", help=", ".join(COMPARISONS)
    )
    command.add_argument("--out", type=Path, help="the JSON file (build/bench/PLAN.json)")
    command.set_defaults(do=_run)


def _run(arguments: argparse.Namespace) -> int:
    plan = QUICK if arguments.quick else FULL
    out = arguments.out or RESULTS / f"{plan.name}.json"
    made = run(plan, arguments.only or COMPARISONS, out)
    _print(made)
    print(f"\nAll figures: {out}")
    return 0 if all(comparison.points for comparison in made["comparisons"].values()) else 1


def _add_targets(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("targets", help="each target, what a run measured, met or not")
    command.add_argument("run", type=Path, help="a run's JSON file")
    command.set_defaults(do=_targets)


def _targets(arguments: argparse.Namespace) -> int:
    print(target_table(read_run(arguments.run)["comparisons"]))
    return 0


def _print(made: Run) -> None:
    for comparison in made["comparisons"].values():
        print(f"\n{comparison.title}: {comparison.about}")
        print(brief(comparison))
        for reason in comparison.skipped:
            print(f"Not measured: {reason}")
    print(f"\nTargets\n{target_table(made['comparisons'])}")
