"""The command line: blindrelay.testbed up | demo | scale | attack | evidence | audit | show | trace."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn, get_args

from blindrelay.testbed.demo import QUESTION, REAL_MODEL, run_demo
from blindrelay.testbed.errors import InputError, TestbedError, UnavailableError
from blindrelay.testbed.providers import ProviderKind, talking_provider
from blindrelay.testbed.topology import BY_ENVOY, Testbed
from blindrelay.testbed.up import described, for_people
from blindrelay.v1.console import HonestParser, run_printing

_LOOK_SECONDS: Final = 0.5
"""Seconds between two checks that all parts still run."""

_INTERRUPTED: Final = 130


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[HonestParser]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns 0: done, 1: failed, 2: wrong arguments, 130: interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A shell may ignore SIGINT for programs in the background.
    signal.signal(signal.SIGINT, _interrupt)
    return run_printing("blindrelay-testbed", lambda: _run(argv), failed=1)


def _run(argv: Sequence[str] | None) -> int:
    from blindrelay.client import BlindRelayError, ConfigurationError

    given = _parser().parse_args(argv)
    try:
        given.run(given)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (InputError, UnavailableError, ConfigurationError) as error:
        return _complain(error, 2)
    except (TestbedError, BlindRelayError) as error:
        return _complain(error, 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = HonestParser(
        prog="blindrelay-testbed", description="A whole BlindRelay on this machine, to try and to test."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_up,
        _add_demo,
        _add_scale,
        _add_attack,
        _add_evidence,
        _add_show,
        _add_audit,
        _add_trace,
    ):
        add(commands)
    return parser


def _add_up(commands: Commands) -> None:
    up = commands.add_parser("up", help="start provider, bridges and relay, and stay until interrupted")
    _add_provider(up, "smollm2, or scripted if it is not installed")
    up.add_argument(
        "--replicas", type=int, choices=range(1, 9), default=1, metavar="N", help="bridges: 1 to 8"
    )
    up.add_argument(
        "--json", action="store_true", help="print one JSON line: relay, provider, identity, pids"
    )
    up.add_argument(
        "--ledger", action="store_true", help="with accounts, limits and bills: a ledger, and a page for it"
    )
    _add_data_plane(up)
    up.set_defaults(run=_up)


def _add_demo(commands: Commands) -> None:
    demo = commands.add_parser("demo", help="ask one question through it, and show who saw what")
    _add_provider(demo, "smollm2, or scripted if it is not installed")
    demo.add_argument(
        "--relay", metavar="CONNECTION", help="use a relay that runs already; its bridge decides who answers"
    )
    demo.add_argument("--question", default=QUESTION, help="what to ask")
    demo.add_argument("--model", help=f"what to ask for by name (of OpenAI: {REAL_MODEL})")
    _add_data_plane(demo)
    demo.set_defaults(run=_demo)


def _add_scale(commands: Commands) -> None:
    scale = commands.add_parser("scale", help="run two of everything, and lose each part in turn")
    scale.set_defaults(run=_scale)


def _add_attack(commands: Commands) -> None:
    attack = commands.add_parser("attack", help="watch a hostile relay fail: run attacks by name")
    attack.add_argument("names", nargs="*", metavar="NAME", help="which attacks to run")
    attack.add_argument("--all", action="store_true", help="run them all, which takes one to three minutes")
    attack.add_argument("--list", action="store_true", help="show their names, and what each does")
    attack.add_argument("--json", action="store_true", help="print one JSON line for each attack")
    attack.set_defaults(run=_attack)


def _add_evidence(commands: Commands) -> None:
    evidence = commands.add_parser(
        "evidence", help="search the relay for what it must not hold; show that the search finds"
    )
    evidence.add_argument("--quick", action="store_true", help="few exchanges, one look: about 40 seconds")
    evidence.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    evidence.add_argument(
        "--out", type=Path, default=Path("build/evidence"), help="folder of the page and the JSON"
    )
    evidence.add_argument(
        "--leak", action="append", default=[], metavar="NAME", help="take a protection out of the relay first"
    )
    _add_data_plane(evidence)
    evidence.add_argument("--inside-its-own-network", action="store_true", help=argparse.SUPPRESS)
    evidence.set_defaults(run=_evidence)


def _add_show(commands: Commands) -> None:
    show = commands.add_parser(
        "show", help="serve a page that shows an exchange live, and what a relay could do"
    )
    _add_provider(show, "smollm2, or scripted if it is not installed")
    show.add_argument("--port", type=int, default=8485, help="0 is any free one (default: 8485)")
    show.add_argument("--json", action="store_true", help="print the page's address as one JSON line")
    show.set_defaults(run=_show)


def _add_audit(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="show the size of the relay and its dependencies")
    audit.add_argument("--json", action="store_true", help="print one line of JSON")
    audit.add_argument("--sbom", type=Path, metavar="FILE", help="write a bill of materials (CycloneDX)")
    audit.set_defaults(run=_audit)


def _add_trace(commands: Commands) -> None:
    from blindrelay.testbed.trace.command import FORM

    trace = commands.add_parser(
        "trace",
        help="record sizes and times at the relay while a provider replays texts",
        epilog=FORM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shapes = ("off", "balanced", "strict")
    trace.add_argument("--shape", choices=shapes, default="balanced", help="profile (default: balanced)")
    trace.add_argument("--texts", type=Path, required=True, metavar="FILE", help="what to replay")
    trace.add_argument(
        "--parallel", type=_count, default=1, metavar="N", help="exchanges at once (default: 1)"
    )
    trace.set_defaults(run=_trace)


def _count(text: str) -> int:
    """A number of exchanges at once. Raises ValueError, as argparse wants it."""
    if not 1 <= (number := int(text)) <= 1_000:
        raise ValueError
    return number


def _add_provider(command: argparse.ArgumentParser, default: str) -> None:
    choices = get_args(ProviderKind)
    command.add_argument("--provider", choices=choices, help=f"who answers (default: {default})")


def _add_data_plane(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data-plane",
        choices=("relay", "envoy"),
        default="relay",
        help="what carries the bytes: the relay itself, or Envoy beside it (default: relay)",
    )


def _demo(given: argparse.Namespace) -> None:
    by_envoy = given.data_plane == "envoy"
    run_demo(given.provider, given.relay, given.question, given.model, by_envoy=by_envoy)


def _scale(given: argparse.Namespace) -> None:
    from blindrelay.testbed.scale.demo import run_scale

    run_scale()


def _attack(given: argparse.Namespace) -> None:
    from blindrelay.testbed.attacks.command import run_command

    run_command(given.names, everything=given.all, only_list=given.list, as_json=given.json)


def _evidence(given: argparse.Namespace) -> None:
    from blindrelay.testbed.evidence.command import run_command

    run_command(
        inside=given.inside_its_own_network,
        quick=given.quick,
        json_only=given.json,
        out=given.out,
        leaks=given.leak,
        by_envoy=given.data_plane == "envoy",
    )


def _show(given: argparse.Namespace) -> None:
    from blindrelay.testbed.show.command import run_show

    run_show(given.provider, given.port, as_json=given.json)


def _audit(given: argparse.Namespace) -> None:
    from blindrelay.testbed.audit.command import run_command

    run_command(given.sbom, as_json=given.json)


def _trace(given: argparse.Namespace) -> None:
    from blindrelay.testbed.trace.command import run_trace

    run_trace(given.shape, given.texts, given.parallel)


def _up(given: argparse.Namespace) -> None:
    kind = given.provider or talking_provider()
    start = BY_ENVOY if given.data_plane == "envoy" else None
    bed = Testbed(kind, replicas=given.replicas, ledger=given.ledger, relay_start=start)
    with bed, suppress(KeyboardInterrupt):
        print(json.dumps(described(bed)) if given.json else for_people(bed), flush=True)
        _stay(bed)


def _stay(bed: Testbed) -> NoReturn:
    """Waits until it is interrupted. Reports a part that dies, with its last lines; the others go on."""
    shown: set[int] = set()
    while True:
        time.sleep(_LOOK_SECONDS)
        for part in bed.parts.values():
            if part.pid in shown:
                continue
            try:
                part.check()
            except TestbedError as error:
                shown.add(part.pid)
                _complain(error, 1)


def _complain(error: Exception, code: int) -> int:
    sys.stderr.write(f"blindrelay-testbed: {error}\n")
    return code


def _interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
