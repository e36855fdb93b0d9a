"""Output of our programs: characters that the console lacks, and files and pipes that cannot be written."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TextIO

_OUTPUT_ENDS: Final = frozenset(
    {errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EBADF}
)
"""Why writing to stdout fails: a closed pipe, a full disk, a terminal or descriptor that is gone."""


def run_printing(program: str, work: Callable[[], int], failed: int) -> int:
    """Runs a program's work and returns its exit code.

    Characters that the console's encoding lacks are printed as escapes. If the output cannot be written, one
    line on stderr says so, and the exit code is `failed`.
    """
    _prepare()
    try:
        try:
            code = work()
        finally:
            sys.stdout.flush()  # also after argparse has printed its help and raised SystemExit
    except OSError as error:
        if not is_output_error(error):
            raise
        for stream in (sys.stdout, sys.stderr):
            _discard_unless_usable(stream)
        with suppress(OSError):
            sys.stderr.write(f"{program}: the output could not be written: {error.strerror}\n")
        return failed
    return code


class HonestParser(argparse.ArgumentParser):
    """A parser whose --help fails if it cannot be printed. argparse ignores that error."""

    def print_help(self, file: Any = None) -> None:
        (file or sys.stdout).write(self.format_help())


def is_output_error(error: OSError) -> bool:
    """Whether writing to stdout or stderr failed. Errors of other files have a filename."""
    return error.errno in _OUTPUT_ENDS and error.filename is None


def _prepare() -> None:
    sys.stdin = sys.stdin or _nothing("r")
    sys.stdout = sys.stdout or _nothing("w")
    sys.stderr = sys.stderr or _nothing("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nothing(mode: str) -> TextIO:
    """Replaces a stream that was closed before the program began."""
    return open(os.devnull, mode, encoding="utf-8")  # type: ignore[return-value]  # noqa: PTH123


def _discard_unless_usable(stream: TextIO) -> None:
    """When Python ends it flushes its streams, and would print another error."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
