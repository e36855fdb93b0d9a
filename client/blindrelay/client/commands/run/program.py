"""Waits for a program as if it stood in this one's place: its signals, and its exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
BY_SIGNAL: Final = 128
"""More than the signal's number: how shells say that a program was ended by one."""

_FORWARDED: Final = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_OF_TERMINALS: Final = ("SIGINT", "SIGQUIT")

Program = subprocess.Popen[bytes]


class PlainProgram:
    """A program that is about to start in the network of this machine.

    Attributes:
        listener: the endpoint's socket, which the program can connect to.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], listener: socket.socket) -> None:
        self._command = command
        self._environ = environ
        self.listener = listener

    def start(self) -> Program:
        """Starts it. Raises OSError if it cannot be run."""
        return subprocess.Popen(self._command, env=dict(self._environ))  # noqa: S603

    def close(self) -> None:
        """Takes the endpoint's socket away."""
        self.listener.close()


def exit_code(program: Program) -> int:
    """Waits for its end; gives its exit code, or what a shell would say instead."""
    code = program.wait()
    return code if code >= 0 else BY_SIGNAL - code


@contextmanager
def forwarded_signals() -> Iterator[Callable[[Program], None]]:
    """Hands on what arrives while the block runs to the program that the given function is told of.

    Until there is one, a signal ends this process as it would end a program.
    """
    programs: list[Program] = []

    def hand_on(number: int, _: FrameType | None) -> None:
        # Of Ctrl-C a terminal tells everybody in the foreground: the program knows already.
        if programs and signal.Signals(number).name in _OF_TERMINALS and _in_foreground():
            return
        if not programs:
            raise SystemExit(BY_SIGNAL + number)
        programs[0].send_signal(number)

    known = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, hand_on) for number in known}
    try:
        yield programs.append
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
