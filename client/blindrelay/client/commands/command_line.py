"""The command `blindrelay`: its subcommands, imported when they are used, and their exit codes."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import click

from blindrelay.client.commands.exit_codes import HELP as EXIT_CODES
from blindrelay.client.commands.exit_codes import ExitCode, exit_code
from blindrelay.client.commands.interruption import ends_at_once
from blindrelay.client.commands.terminal import one_line
from blindrelay.v1.extras import MissingExtraError, needs_extra

_HELP = f"""Use language models through a relay that cannot read.

\b
Examples:
  blindrelay init                       set it up: relay, token, bridge
  blindrelay doctor                     check each hop and suggest a remedy
  blindrelay chat "Hello"               ask a model
  blindrelay proxy                      a local endpoint for any program
  blindrelay run -- python program.py   a program whose calls can only leave sealed

{EXIT_CODES}
"""

COMMANDS: Final = {
    "bill": "Show what exchanges cost, per day, model and key, by the bridge's statements.",
    "chat": "Ask a model, sealed, and print the response as it comes.",
    "config": "Show the settings in force and where each comes from.",
    "doctor": "Check each hop from here to the provider, in order.",
    "init": "Set up a relay: answer three questions; the answers are checked before they are saved.",
    "keys": "Show and compare the bridge's keys that this client trusts.",
    "models": "List the provider's models, one per line.",
    "proxy": "Serve a local endpoint, for any program that takes a base URL and a key.",
    "run": "Run a program with a local endpoint, and no other way out.",
}
"""Short helps for `--help` and completion, which then need not import gRPC and cryptography."""


class _Commands(click.Group):
    """Knows its commands by name and imports only the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A placeholder for lists."""
        return click.Command(cmd_name, short_help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else command_named(args[0]), rest


def command_named(name: str) -> click.Command:
    """One of COMMANDS, imported."""
    with ends_at_once():
        module: Any = import_module(f"blindrelay.client.commands.{name}")
    command: click.Command = getattr(module, name)
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, help=_HELP)
@click.version_option(package_name="blindrelay", message="%(prog)s %(version)s")
def blindrelay() -> None:
    """The group of all commands."""


def run_command_line(arguments: Sequence[str] | None) -> int:
    """Runs a command; returns the exit code. An error is one line on stderr. Raises OSError from output."""
    logging.basicConfig(format="blindrelay: %(message)s", level=logging.ERROR)
    streams = sys.stdout, sys.stderr
    given = None if arguments is None else list(arguments)
    try:
        with needs_extra("client"):
            code = blindrelay.main(given, prog_name="blindrelay", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.WRONG_INPUT
    except click.ClickException as error:
        return _failed(error.format_message(), ExitCode.WRONG_INPUT)
    except MissingExtraError as error:
        return _failed(str(error), ExitCode.WRONG_INPUT)
    except click.Abort:
        # Ctrl-C may come between making a coroutine and handing it over. Python would warn of that.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        return ExitCode.INTERRUPTED
    except SystemExit:
        if sys.stdout is streams[0]:
            raise
        # click does this after a closed pipe, and has replaced the streams.
        sys.stdout, sys.stderr = streams
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
    except Exception as error:
        return _failed(str(error), _exit_code(error))
    return int(code or 0)


def _exit_code(error: Exception) -> ExitCode:
    """Raises the error again if it is not a BlindRelayError: then this program has a fault."""
    from blindrelay.client.errors import BlindRelayError  # here, so that --help need not import it

    if not isinstance(error, BlindRelayError):
        raise error from None
    return exit_code(error)


def _failed(message: str, code: ExitCode) -> int:
    click.echo(f"blindrelay: {one_line(message)}", err=True)
    return code
