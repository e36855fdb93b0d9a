"""The command `blindrelay`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click

from blindrelay.client.commands.chat import chat
from blindrelay.client.commands.config import config
from blindrelay.client.commands.doctor import doctor
from blindrelay.client.commands.exit_codes import HELP as EXIT_CODES
from blindrelay.client.commands.exit_codes import ExitCode, exit_code
from blindrelay.client.commands.init import init
from blindrelay.client.commands.keys import keys
from blindrelay.client.commands.models import models
from blindrelay.client.commands.proxy import proxy
from blindrelay.client.commands.run import run
from blindrelay.client.commands.terminal import one_line
from blindrelay.client.errors import BlindRelayError

_HELP = f"""Use language models through a relay that cannot read.

\b
Examples:
  blindrelay init                       set it up: relay, token, bridge
  blindrelay doctor                     check each hop, and say what to do
  blindrelay chat "Hello"               ask a model
  blindrelay proxy                      a local endpoint for any program
  blindrelay run -- python program.py   a program whose calls can only leave sealed

{EXIT_CODES}
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, help=_HELP)
@click.version_option(package_name="blindrelay", message="%(prog)s %(version)s")
def blindrelay() -> None:
    """The group of all commands."""


for _command in (chat, models, doctor, config, init, keys, proxy, run):
    blindrelay.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code. An error is one line on stderr."""
    logging.basicConfig(format="blindrelay: %(message)s", level=logging.ERROR)
    arguments = None if argv is None else list(argv)
    try:
        code = blindrelay.main(arguments, prog_name="blindrelay", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.WRONG_INPUT
    except click.ClickException as error:
        return _failed(error.format_message(), ExitCode.WRONG_INPUT)
    except BlindRelayError as error:
        return _failed(str(error), exit_code(error))
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return int(code or 0)


def _failed(message: str, code: ExitCode) -> int:
    click.echo(f"blindrelay: {one_line(message)}", err=True)
    return code
