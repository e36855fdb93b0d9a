"""The command `python -m bench`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from bench.body_checks import LARGEST, body_checks
from bench.capacity_command import add_capacity
from bench.chain import ROOT, UnavailableError
from bench.compare import compared
from bench.comparisons import COMPARISONS
from bench.document import write_document
from bench.leakage.command import add_leakage
from bench.ledger import EXCHANGES, ledger
from bench.ledger_process import ledger_process
from bench.ledgers import ledgers
from bench.own import Own, own
from bench.plan import FULL, QUICK
from bench.programs import missing
from bench.run import Run, read_run, run
from bench.tables import table
from bench.targets import target_table
from bench.ways import OFFICIAL_URL

RESULTS = ROOT / "build" / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code: 1 if a comparison failed altogether."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure BlindRelay beside others.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        *(_add_run, _add_document, _add_compare, _add_own, _add_body_checks, _add_ledger),
        *(_add_leakage, add_capacity),
    ):
        add(commands)
    arguments = parser.parse_args(argv)
    code: int = arguments.do(arguments)
    return code


def _add_run(commands: Commands) -> None:
    command = commands.add_parser("run", help="measure, write JSON, print tables and targets")
    command.add_argument("--quick", action="store_true", help="take less than three minutes")
    command.add_argument(
        "--only", nargs="+", choices=COMPARISONS, metavar="NAME", help=", ".join(COMPARISONS)
    )
    command.add_argument("--out", type=Path, help="the JSON file (build/bench/PLAN.json)")
    command.add_argument(
        "--document", action="store_true", help="write docs/benchmarks.md, if everything was measured"
    )
    command.set_defaults(do=_run)


def _run(arguments: argparse.Namespace) -> int:
    plan = QUICK if arguments.quick else FULL
    out = arguments.out or RESULTS / f"{plan.name}.json"
    print(*missing(), sep="\n", file=sys.stderr, flush=True)
    made = run(plan, arguments.only or COMPARISONS, out)
    _print(made)
    print(f"\nAll figures: {out}")
    if arguments.document and not arguments.only:
        write_document(made, PAGE)
        print(f"Written: {PAGE}, its data and its charts")
    return 0 if all(comparison.points for comparison in made["comparisons"].values()) else 1


def _print(made: Run) -> None:
    for comparison in made["comparisons"].values():
        print(f"\n{comparison.title}: {comparison.about}")
        print(table(comparison))
        for reason in comparison.skipped:
            print(f"Not measured: {reason}")
    print(f"\nTargets\n{target_table(made['comparisons'])}")


def _add_document(commands: Commands) -> None:
    command = commands.add_parser(
        "document", help="write a run as a page, with its data and charts beside it"
    )
    command.add_argument("run", type=Path, help="a run's JSON file")
    command.add_argument(
        "--page", type=Path, default=PAGE, help="the page; data and charts go into a folder beside it"
    )
    command.set_defaults(do=_document)


def _document(arguments: argparse.Namespace) -> int:
    write_document(read_run(arguments.run), arguments.page)
    return 0


def _add_compare(commands: Commands) -> None:
    command = commands.add_parser("compare", help="what clearly changed from one run to another")
    command.add_argument("old", type=Path, help="a run's JSON file")
    command.add_argument("new", type=Path, help="the JSON file of another run")
    command.add_argument("--all", action="store_true", help="also show changes that may be chance")
    command.set_defaults(do=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    print(compared(read_run(arguments.old), read_run(arguments.new), everything=arguments.all))
    return 0


def _add_own(commands: Commands) -> None:
    command = commands.add_parser("own", help="your own relay and bridge; what is sent may be billed")
    command.add_argument("connection", help="a connection string")
    command.add_argument("--url", default=OFFICIAL_URL, help=f"the provider's base URL ({OFFICIAL_URL})")
    command.add_argument("--direct", metavar="URL", help="a base URL to compare with, in clear")
    command.add_argument("--model", default="scripted", help="the model to ask")
    command.add_argument("--body", type=Path, metavar="FILE", help="a JSON body to send instead")
    command.add_argument("--pid", action="append", default=[], metavar="NAME=PID", help="a process to watch")
    command.add_argument("--concurrency", type=int, default=1, metavar="N", help="calls at once (1)")
    command.add_argument("--rate", type=float, help="calls to begin each second")
    command.add_argument("--seconds", type=float, default=5.0, help="the longest a round may take (5)")
    command.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds (3)")
    command.add_argument(
        "--calls", type=int, default=20, metavar="N", help="most calls in a round, on each side (20)"
    )
    command.set_defaults(do=_own)


def _own(arguments: argparse.Namespace) -> int:
    messages = [{"role": "user", "content": "Count from one to ten."}]
    ready = json.dumps({"model": arguments.model, "messages": messages, "stream": True})
    named = (each.partition("=") for each in arguments.pid)
    try:
        body = arguments.body.read_text("utf-8") if arguments.body else ready
        given = Own(
            connection=arguments.connection,
            url=arguments.url,
            direct=arguments.direct,
            body=body,
            pids={name: int(pid) for name, _, pid in named},
            concurrency=arguments.concurrency,
            rate=arguments.rate,
            seconds=arguments.seconds,
            rounds=arguments.rounds,
            calls=arguments.calls,
        )
        said = f"This sends up to {given.calls_at_most} calls to {given.url}, which the provider may bill."
        print(said, file=sys.stderr, flush=True)
        made = own(given)
    except (UnavailableError, OSError, ValueError) as error:
        print(f"bench own: {error}", file=sys.stderr)
        return 1
    print(f"{made.about}\n\n{table(made)}")
    return 0 if all(run["exchanges"] for runs in made.points[0].runs.values() for run in runs) else 1


def _add_body_checks(commands: Commands) -> None:
    command = commands.add_parser(
        "body-checks", help="how long a bridge's event loop waits while bodies of the worst shapes are judged"
    )
    command.add_argument("--size", type=int, default=LARGEST, metavar="BYTES", help="of each body (32 MiB)")
    command.set_defaults(do=_body_checks)


def _body_checks(arguments: argparse.Namespace) -> int:
    print(body_checks(arguments.size))
    return 0


def _add_ledger(commands: Commands) -> None:
    command = commands.add_parser("ledger", help="what an exchange costs in the ledger's books")
    command.add_argument("--exchanges", type=int, default=EXCHANGES, metavar="N", help="how many (20,000)")
    command.add_argument("--books", metavar="URL", help="an empty PostgreSQL database (a new SQLite file)")
    command.set_defaults(do=_ledger)
    whole = commands.add_parser("ledger-process", help="what an exchange costs a whole ledger process")
    whole.add_argument("--exchanges", type=int, default=EXCHANGES, metavar="N", help="how many (20,000)")
    whole.set_defaults(do=_ledger_process)
    shared = commands.add_parser(
        "ledgers", help="exchanges a second of two ledgers on PostgreSQL, over SQLite"
    )
    shared.add_argument("--exchanges", type=int, default=EXCHANGES, metavar="N", help="how many (20,000)")
    shared.set_defaults(do=_ledgers)


def _ledger(arguments: argparse.Namespace) -> int:
    print(ledger(arguments.exchanges, arguments.books))
    return 0


def _ledger_process(arguments: argparse.Namespace) -> int:
    print(ledger_process(arguments.exchanges))
    return 0


def _ledgers(arguments: argparse.Namespace) -> int:
    print(ledgers(arguments.exchanges))
    return 0


def _add_leakage(commands: Commands) -> None:
    add_leakage(commands.add_parser("leakage", help="what sizes and times at the relay tell, and the costs"))
