"""The command `blindrelay`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import click

from blindrelay.client.errors import BlindRelayError, ConfigurationError
from blindrelay.client.keys_command import keys

_WRONG_INPUT: Final = 2
_NOT_TRUSTED: Final = 3
_INTERRUPTED: Final = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def blindrelay() -> None:
    """Look after what BlindRelay's client trusts."""


blindrelay.add_command(keys)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code. An error is one line on stderr."""
    logging.basicConfig(format="blindrelay: %(message)s", level=logging.ERROR)
    arguments = None if argv is None else list(argv)
    try:
        code = blindrelay.main(arguments, prog_name="blindrelay", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return _WRONG_INPUT
    except click.ClickException as error:
        return _failed(error.format_message(), _WRONG_INPUT)
    except ConfigurationError as error:
        return _failed(str(error), _WRONG_INPUT)
    except BlindRelayError as error:
        return _failed(str(error), _NOT_TRUSTED)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    return int(code or 0)


def _failed(message: str, code: int) -> int:
    click.echo(f"blindrelay: {message}", err=True)
    return code
