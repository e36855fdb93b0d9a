"""The program under test: a process that is asked one question at a time."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Final, Self, cast

Question = dict[str, Any]
Answer = dict[str, Any]

OnPiece = Callable[[bytes], None]
"""Takes a piece of a response's body when the program has it."""

_LONGEST_LINE: Final = 32 * 1024 * 1024
"""Bytes. The largest answer is a request of a few MiB in hexadecimal."""

_END_SECONDS: Final = 5.0


class ProgramError(Exception):
    """The program ended, gave no answer in time, or answered with something that is not a JSON object."""


class Program:
    """A program that answers questions. It is started at the first one, and again after it has failed.

    Args:
        command: the program and its arguments.
        seconds: how long an answer may take.
    """

    def __init__(self, command: Sequence[str], seconds: float) -> None:
        self._command = command
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            _close(_stdin(self._process))
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            self._kill()

    def ask(self, question: Question, on_piece: OnPiece = lambda _: None) -> Answer:
        """The answer to a question. Lines with a `piece` before it go to `on_piece`.

        Raises ProgramError, and OSError if the program cannot be started.
        """
        process = self._process or self._start()
        line = json.dumps(question).encode() + b"\n"
        # A program that reads nothing must not keep us: the thread ends with the process.
        threading.Thread(target=_write, args=(_stdin(process), line), daemon=True).start()
        try:
            while "piece" in (answer := self._next_answer(process)):
                on_piece(bytes.fromhex(answer["piece"]))
        except (ProgramError, TypeError, ValueError) as error:
            self._kill()
            if isinstance(error, ProgramError):
                raise
            raise ProgramError(f"a piece is not hexadecimal: {answer['piece']!r}") from None
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - the command is what our user asks for
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._process, self._lines = process, queue.SimpleQueue()
        reading = threading.Thread(
            target=_read, args=(cast(IO[bytes], process.stdout), self._lines), daemon=True
        )
        reading.start()
        return process

    def _next_answer(self, process: subprocess.Popen[bytes]) -> Answer:
        try:
            line = self._lines.get(timeout=self._seconds)
        except queue.Empty:
            raise ProgramError(f"the program gave no answer in {self._seconds:g} seconds") from None
        if not line:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            raise ProgramError(f"the program ended without an answer, with exit code {process.returncode}")
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ProgramError(f"the program answered with something other than a JSON object: {line[:60]!r}")
        return answer

    def _kill(self) -> None:
        """Ends the process and its children."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()
        _close(_stdin(process))


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    return cast(IO[bytes], process.stdin)  # it is a pipe


def _write(stdin: IO[bytes], line: bytes) -> None:
    with suppress(OSError, ValueError):  # the program has ended, which its missing answer tells
        stdin.write(line)
        stdin.flush()


def _read(stdout: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Passes lines on; an empty one is the end."""
    with stdout:
        line = b"\n"
        while line:
            line = stdout.readline(_LONGEST_LINE)
            lines.put(line)


def _close(stdin: IO[bytes]) -> None:
    with suppress(OSError):
        stdin.close()
