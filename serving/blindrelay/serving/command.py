"""The commands that our servers share: `serve`, `doctor`, `health`, and for relay and bridge `token`."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from blindrelay.serving.errors import ConfigError, ServingError
from blindrelay.serving.process import allow_many_connections, leave_no_traces
from blindrelay.serving.tokens import issue_token, list_tokens, revoke_token
from blindrelay.v1.console import HonestParser, is_output_error, run_printing

if TYPE_CHECKING:
    from blindrelay.serving.doctor import Examine
    from blindrelay.serving.health_check import Listening

Announce = Callable[..., None]
"""Called once a server listens, with a sentence, `listening` and other fields."""

Serve = Callable[[argparse.Namespace, Announce], None]
Commands = Any
"""The type that argparse's add_subparsers() returns. It has no public name."""


class CommandParser(HonestParser):
    """An argument parser that raises ConfigError, so that its errors are one line like all others."""

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        """Raises ConfigError here for unknown arguments, so that the error names the command's own --help."""
        known, unknown = super().parse_known_args(*given, **named)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


class _ShowVersion(argparse.Action):
    """Prints the version. A process that serves goes without the megabyte that it takes to look it up."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # not needed by a process that serves

        _print(f"{parser.prog} {version('blindrelay')}")
        parser.exit()


def command_parser(
    name: str,
    description: str,
    serve: Serve,
    examine: Examine | None = None,
    *,
    token_files: bool = True,
) -> tuple[CommandParser, Commands]:
    """A parser with the shared commands, and its subparsers, to which a program can add commands.

    `serve(arguments, announce)` serves with `arguments.config` until the process is told to stop. It calls
    `announce(sentence, listening=…, **more)` once, when it listens. `examine(file)` returns the findings of
    `doctor`. Without it the program has no `doctor` command. With `token_files` it has
    `token issue | revoke | list`, for a file of tokens.
    """
    parser = CommandParser(prog=name, description=description)
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_serving(commands, "serve", "serve until SIGTERM or SIGINT", serve)
    if token_files:
        _add_token(commands)
    if examine is not None:
        _add_doctor(commands, examine)
    return parser, commands


def run_command(parser: CommandParser, argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns the exit code: 0 done, 1 failed while running, 2 wrong input.

    Every error is one line on stderr. A traceback could reveal secrets.
    """
    leave_no_traces()
    return run_printing(parser.prog, lambda: _run(parser, argv), failed=1)


def _run(parser: CommandParser, argv: Sequence[str] | None) -> int:
    try:
        arguments = parser.parse_args(argv)
        return arguments.run(arguments) or 0
    except ServingError as error:
        return _complain(parser, str(error), error.exit_code)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, OSError) and is_output_error(error):
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return _complain(parser, f"stopped by an internal error ({type(error).__name__} at {place})", 1)


def _complain(parser: CommandParser, message: str, code: int) -> int:
    sys.stderr.write(f"{parser.prog}: {' '.join(message.split())}\n")
    return code


def add_serving(commands: Commands, name: str, purpose: str, serve: Serve) -> None:
    """Adds a command that serves with a configuration and announces itself (see command_parser)."""
    command = commands.add_parser(name, help=purpose)
    command.add_argument("--config", required=True, type=Path, metavar="FILE", help="TOML configuration")
    command.add_argument("--json", action="store_true", help="announce the address as one JSON line")

    def run(arguments: argparse.Namespace) -> None:
        def announce(sentence: str, **fields: str) -> None:
            sys.stdout.write((json.dumps(fields) if arguments.json else sentence) + "\n")
            sys.stdout.flush()

        # Log lines of libraries may quote peers and contents, so none reach stderr.
        logging.getLogger().addHandler(logging.NullHandler())
        allow_many_connections()
        serve(arguments, announce)

    command.set_defaults(run=run)


def add_health_check(commands: Commands, read: Callable[[Path], Listening]) -> None:
    """Adds the command `health`. `read` returns the configuration of a file."""
    command = commands.add_parser("health", help="ask the running server whether it serves")
    command.add_argument("--config", required=True, type=Path, metavar="FILE", help="TOML configuration")

    def run(given: argparse.Namespace) -> int:
        from blindrelay.serving.health_check import show_health  # not needed by a process that serves

        return 0 if show_health(read(given.config)) else 1

    command.set_defaults(run=run)


def _add_token(commands: Commands) -> None:
    token = commands.add_parser("token", help="issue, revoke and list access tokens")
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")
    file = CommandParser(add_help=False)
    file.add_argument("--tokens", required=True, type=Path, metavar="FILE", help="the file of hashed tokens")
    name = CommandParser(add_help=False)
    name.add_argument("name", metavar="NAME", help="letters, digits and . _ -")
    issue = actions.add_parser("issue", parents=[name, file], help="make a token and print it once")
    issue.set_defaults(run=lambda given: _print(issue_token(given.tokens, given.name, datetime.now(UTC))))
    revoke = actions.add_parser("revoke", parents=[name, file], help="make a token invalid")
    revoke.set_defaults(run=lambda given: revoke_token(given.tokens, given.name))
    listing = actions.add_parser("list", parents=[file], help="print names and dates")
    listing.set_defaults(run=_list)


def _add_doctor(commands: Commands, examine: Examine) -> None:
    command = commands.add_parser("doctor", help="check files, ports and peers, and say what to do")
    command.add_argument("--config", required=True, type=Path, metavar="FILE", help="TOML configuration")
    command.add_argument("--json", action="store_true", help="print one JSON line")

    def run(given: argparse.Namespace) -> int:
        from blindrelay.serving.doctor import show  # not needed by a process that serves

        return 0 if show(examine(given.config), as_json=given.json) else 1

    command.set_defaults(run=run)


def _list(arguments: argparse.Namespace) -> None:
    for entry in list_tokens(arguments.tokens):
        _print(f"{entry.name}\t{entry.created}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
