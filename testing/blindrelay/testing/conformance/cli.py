"""python -m blindrelay.testing conformance"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blindrelay.testing.conformance.check import Outcome, Wanted, run_checks
from blindrelay.testing.conformance.program import Program
from blindrelay.testing.conformance.vectors import VectorsError, default_folder, vector_checks

_WRONG_USAGE: Final = 2
_SECONDS: Final = 30.0


def add_conformance(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "conformance",
        help="put an implementation of the protocol, in any language, to the test",
        description="Asks a program about the vectors, or has it use a relay. See docs/conformance.md.",
    )
    parser.add_argument("--vectors", type=Path, metavar="FOLDER", help="spec/vectors of a clone")
    parser.add_argument("--live", action="store_true", help="with a relay, a bridge and a scripted provider")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help='make this check only, such as "request/stream_swapped", or with "request/" all of these; '
        "may be given several times",
    )
    parser.add_argument("--strict", action="store_true", help="fail for what the program does not support")
    parser.add_argument("--json", action="store_true", help="write the results as one JSON object")
    parser.add_argument(
        "--timeout", type=float, default=_SECONDS, metavar="SECONDS", help="for each answer (%(default)g)"
    )
    parser.add_argument(
        "command", nargs="+", metavar="COMMAND", help="the program and its arguments, after --"
    )
    parser.set_defaults(run=lambda options: _run(parser, options))


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        outcome = _outcome(options)
    except VectorsError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{options.command[0]} cannot be started: {error.strerror}")
    print(json.dumps(_as_json(outcome)) if options.json else "\n".join(_lines(outcome)))
    return 0 if outcome.is_success(strict=options.strict) else 1


def _outcome(options: argparse.Namespace) -> Outcome:
    wanted = Wanted(options.only)
    with Program(options.command, options.timeout) as program:
        if options.live:
            from blindrelay.testing.conformance.live import run_live

            return run_live(program, wanted)
        checks = [
            check for check in vector_checks(options.vectors or default_folder()) if check.name in wanted
        ]
        return run_checks(checks, program)


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "passed": dict(outcome.passed),
        "unsupported": dict(outcome.unsupported),
        "failed": outcome.failed,
        "gave_up": outcome.gave_up,
    }


def _lines(outcome: Outcome) -> Sequence[str]:
    kinds = sorted(outcome.passed | outcome.unsupported)
    width = max(map(len, kinds), default=0)
    lines = [
        f"{kind:{width}}  {outcome.passed[kind]:4} passed"
        + (f", {outcome.unsupported[kind]} unsupported" if outcome.unsupported[kind] else "")
        for kind in kinds
    ]
    lines += [f"FAILED {name}: {wrong}" for name, wrong in outcome.failed.items()]
    if outcome.gave_up:
        lines.append(f"GAVE UP: the program did not answer {outcome.silences} questions in a row")
    totals = outcome.passed.total(), len(outcome.failed), outcome.unsupported.total()
    return [*lines, "{} passed, {} failed, {} unsupported".format(*totals)]
