"""The command `python -m bench leakage`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bench.leakage.plan import FULL, QUICK, Plan


def add_leakage(command: argparse.ArgumentParser) -> None:
    """Adds the options."""
    command.add_argument(
        "--quick", action="store_true", help="take less than three minutes on two quiet cores"
    )
    command.add_argument("--texts", type=Path, metavar="PATH", help="a folder or file of known answers")
    command.add_argument(
        "--traces",
        action="append",
        default=[],
        metavar="[SHAPE=]FILE",
        help="play with traces from a file instead of recording; for each shape",
    )
    command.add_argument("--seed", type=int, default=1, help="of texts, gaps and attacks (1)")
    command.add_argument("--parallel", type=int, metavar="N", help="shaped exchanges at once")
    command.add_argument("--off-parallel", type=int, metavar="N", help="unshaped exchanges at once")
    command.add_argument("--without-cpu", action="store_true", help="leave CPU time and first text out")
    command.add_argument("--document", action="store_true", help="write docs/leakage.md and its pictures")
    command.set_defaults(do=leakage)


def leakage(arguments: argparse.Namespace) -> int:
    """Returns the exit code: 1 if a control was lost, 2 for wrong texts or traces."""
    from blindrelay.testbed.errors import TestbedError
    from blindrelay.v1.extras import needs_extra

    with needs_extra("leakage"):
        from bench.leakage.run import Given, lost_controls, run

    given = Given(
        _plan(arguments), arguments.texts, _named(arguments.traces), arguments.seed, arguments.document
    )
    try:
        lost = lost_controls(run(given))
    except (TestbedError, OSError, ValueError) as error:
        print(f"bench leakage: {error}", file=sys.stderr)
        return 2
    for control in lost:
        print(f"bench leakage: the attack lost its control: {control}", file=sys.stderr)
    return 1 if lost else 0


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else FULL
    given = {
        shape: (arguments.off_parallel if shape == "off" else arguments.parallel) or usual
        for shape, usual in plan.parallel.items()
    }
    return replace(
        plan,
        parallel=given,
        cpu_rounds=0 if arguments.without_cpu else plan.cpu_rounds,
    )


def _named(given: list[str]) -> dict[str, Path]:
    """Files by shape; a file without a shape is of "balanced"."""
    pairs = [each.partition("=") if "=" in each else ("balanced", "=", each) for each in given]
    return {shape: Path(path) for shape, _, path in pairs}
