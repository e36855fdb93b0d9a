"""Runs a program as if it stood in this one's place: its signals, and its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
BY_SIGNAL: Final = 128
"""More than the signal's number: how shells say that a program was ended by one."""

_FORWARDED: Final = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_OF_TERMINALS: Final = ("SIGINT", "SIGQUIT")


def run_program(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs it to its end; returns its exit code, or what a shell would say instead.

    Raises FileNotFoundError or PermissionError if it cannot be started.
    """
    with _signals() as programs, subprocess.Popen(command, env=dict(environ)) as program:  # noqa: S603
        programs.append(program)
        code = program.wait()
    return code if code >= 0 else BY_SIGNAL - code


@contextmanager
def _signals() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Hands on what arrives while the block runs to the program that is put into the list."""
    programs: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        # Of Ctrl-C a terminal tells everybody in the foreground: the program knows already.
        if signal.Signals(number).name in _OF_TERMINALS and _in_foreground():
            return
        if not programs:
            raise SystemExit(BY_SIGNAL + number)
        programs[0].send_signal(number)

    known = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, hand_on) for number in known}
    try:
        yield programs
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    if sys.platform == "win32":
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
