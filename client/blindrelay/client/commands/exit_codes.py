"""The exit codes of all commands. They tell scripts who failed."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blindrelay.client.errors import BlindRelayError


class ExitCode(IntEnum):
    """0 is done; 1 is a negative result: a difference, a failed check."""

    DONE = 0
    NO = 1
    WRONG_INPUT = 2
    RELAY = 3
    """It was not reached, refused, cut or altered something, or served nothing trustworthy."""
    BRIDGE = 4
    PROVIDER = 5
    OUTPUT = 6
    """The output could not be written: a full disk, a closed pipe."""
    INTERRUPTED = 130


HELP = """\b
Exit codes:
  0    done
  1    a check failed, or a comparison found differences
  2    wrong input or configuration
  3    the relay was not reached, refused, or served nothing that can be trusted
  4    the bridge refused or failed (it sealed this itself)
  5    the provider answered with an error
  6    the output could not be written
  130  interrupted"""

_BY_ORIGIN = {"bridge": ExitCode.BRIDGE, "provider": ExitCode.PROVIDER}


def exit_code(error: BlindRelayError) -> ExitCode:
    """The exit code that says who is at fault."""
    from blindrelay.client.errors import ConfigurationError, RequestError  # --help shows the codes without

    if isinstance(error, ConfigurationError | RequestError):
        return ExitCode.WRONG_INPUT
    return _BY_ORIGIN.get(error.origin, ExitCode.RELAY)
