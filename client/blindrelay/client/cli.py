"""The entry point of the command `blindrelay`. From here on Ctrl-C is quiet, also during imports."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from blindrelay.client.commands.interruption import (
    end_at_once_from_now,
    ends_at_once,
    ignore_at_the_very_end,
)
from blindrelay.v1.console import run_printing
from blindrelay.v1.extras import MissingExtraError, needs_extra

_WRONG_INPUT = 2
_OUTPUT = 6
_INTERRUPTED = 130
"""From ExitCode, which is not imported yet."""

ignore_at_the_very_end()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; returns the exit code. An error is one line on stderr.

    Without `argv` it is the process's own command line, and the process ends after it.
    """
    try:
        with ends_at_once(), needs_extra("client"):
            from blindrelay.client.commands.command_line import run_command_line
        return run_printing("blindrelay", lambda: run_command_line(argv), _OUTPUT)
    except MissingExtraError as error:
        sys.stderr.write(f"blindrelay: {error}\n")
        return _WRONG_INPUT
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        if argv is None:
            end_at_once_from_now()
