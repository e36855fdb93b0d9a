"""Waits for a program and behaves like it: passes signals on and returns its exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final, Protocol

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
BY_SIGNAL: Final = 128
"""Shells add this to a signal's number for the exit code of a program that it ended."""

_FORWARDED: Final = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_OF_TERMINALS: Final = ("SIGINT", "SIGQUIT")

Program = subprocess.Popen[bytes]


class Startable(Protocol):
    """A program that is about to start."""

    def start(self) -> Program: ...


class PlainProgram:
    """A program that is about to start in this machine's network.

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
        """Closes the endpoint's socket."""
        self.listener.close()


class SignalForwarder:
    """Runs a program and passes signals on to it.

    Before the program is started, a signal ends this process. One that comes while it starts is passed on
    afterwards.
    """

    def __init__(self, woken: socket.socket, wake: socket.socket) -> None:
        """Each signal and the end of the program write a byte to `wake`, which is read from `woken`."""
        self._woken = woken
        self._wake = wake
        self._starting = False
        self._waiting: list[int] = []
        self._program: Program | None = None

    def start(self, program: Startable) -> Program:
        """Starts the program that gets the signals. Raises OSError if it cannot be run."""
        self._starting = True
        try:
            self._program = started = program.start()
        except OSError:
            self._starting = False
            raise
        for number in self._waiting:
            started.send_signal(number)
        return started

    def exit_code(self, program: Program) -> int:
        """Waits for the program's end; returns its exit code, or the one that a shell would return.

        It waits in another thread. In this one, a signal just before the wait would be handled only after it.
        """
        waiting = threading.Thread(target=self._tell_end, args=(program,), daemon=True)
        waiting.start()
        while program.returncode is None:
            self._woken.recv(4_096)
        waiting.join()
        code = program.returncode
        return code if code >= 0 else BY_SIGNAL - code

    def _tell_end(self, program: Program) -> None:
        program.wait()
        with suppress(BlockingIOError):  # then there is enough to read
            self._wake.send(b"\0")

    def pass_on(self, number: int, _: FrameType | None) -> None:
        """Handles a signal."""
        if not self._starting:
            raise SystemExit(BY_SIGNAL + number)
        if self._program is None:
            self._waiting.append(number)
        # A terminal sends Ctrl-C to the whole foreground group: a program that runs has it already.
        elif signal.Signals(number).name not in _OF_TERMINALS or not _in_foreground():
            self._program.send_signal(number)


@contextmanager
def forwarded_signals() -> Iterator[SignalForwarder]:
    """Handles this process's signals while the block runs, which has to be in the main thread."""
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)
        forwarder = SignalForwarder(woken, wake)
        known = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
        before = {number: signal.signal(number, forwarder.pass_on) for number in known}
        woken_before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield forwarder
        finally:
            signal.set_wakeup_fd(woken_before)
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
