"""One part of a testbed: a process that says where it listens, is watched, and never outlives us."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from blindrelay.testbed.errors import PartDiedError, PartNotReadyError

START_SECONDS: Final = 60.0
"""How long a part may take until it listens. A cold start of the model takes three on an idle machine."""

STOP_SECONDS: Final = 60.0
"""How long a part may take to drain after SIGTERM before it is killed."""

KEPT_LINES: Final = 200
"""Of what a part writes to stderr, the last lines are kept."""

KEPT_LINE_LENGTH: Final = 2_000
"""Characters of a line that are kept."""


_TETHER: Final = Path(__file__).with_name("tether.py")


class PartProcess:
    """A module that runs as a child process, prints one JSON line when it listens, and can be restarted.

    `arguments` is called for each start, so that a restart can ask for the port that the first one was given.
    `launcher` is a command that runs another one in its own place.

    Attributes:
        announcement: what it printed when it listened.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Callable[[], Sequence[str]],
        environment: Mapping[str, str] | None = None,
        kept_lines: int = KEPT_LINES,
        launcher: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.announcement: dict[str, str] = {}
        self._module = module
        self._arguments = arguments
        self._environment = dict(environment or {})
        self._launcher = tuple(launcher)
        self._process: subprocess.Popen[str] | None = None
        self._stderr: deque[tuple[float, str]] = deque(maxlen=kept_lines)
        self._readers: list[threading.Thread] = []

    def __repr__(self) -> str:
        return f"<{self.name}: pid {self._process.pid if self._process else None}>"

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        if self._process is None:
            raise PartNotReadyError(f"{self.name} was not started")
        return self._process.pid

    @property
    def listening(self) -> str:
        """HOST:PORT, as the part announced it."""
        return self.announcement["listening"]

    @property
    def command(self) -> list[str]:
        """The command line that runs it again, where it listened and with its data, after it has ended."""
        return [*self._launcher, sys.executable, "-m", self._module, *self._arguments()]

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number if one ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def stderr(self) -> str:
        """The last that it wrote to stderr."""
        return "".join(line for _, line in self.stderr_lines)

    @property
    def stderr_lines(self) -> list[tuple[float, str]]:
        """The same by lines, each with the Unix seconds at which it came."""
        return list(self._stderr)

    def start(self) -> None:
        """Starts the process and waits until it listens. Raises PartDiedError or PartNotReadyError."""
        self._release()
        self._process = subprocess.Popen(
            [*self._launcher, sys.executable, "-P", str(_TETHER), self._module, *self._arguments()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment},
            # Ctrl-C in a terminal reaches its whole group; our parts are stopped by us, in order.
            start_new_session=True,
        )
        self._stderr.clear()
        try:
            self.announcement = self._read_announcement(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Asks it to drain and waits; kills it if that takes too long. Does nothing if it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops it if it runs, and starts it again."""
        self.stop()
        self.start()

    def check(self) -> None:
        """Raises PartDiedError, with the part's last words, if it has ended."""
        if self._process is not None and not self.is_running:
            self._release()
            raise self._died()

    def _end(self, signal_number: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal_number)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._release()

    def _release(self) -> None:
        """Reads what an ended process has left in its pipes, and closes them."""
        if self._process is None or self._process.poll() is None:
            return
        for reader in self._readers:
            reader.join(STOP_SECONDS)  # programs that it ran hold the pipes until they end
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _read_announcement(self, process: subprocess.Popen[str]) -> dict[str, str]:
        lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            _reading(process.stdout, lines.put),
            _reading(
                process.stderr, lambda line: self._stderr.append((time.time(), line[:KEPT_LINE_LENGTH]))
            ),
        ]
        try:
            line = lines.get(timeout=START_SECONDS)
        except queue.Empty:
            raise PartNotReadyError(f"{self.name} did not listen within {START_SECONDS:.0f} s") from None
        if not line:
            process.wait(STOP_SECONDS)
            self._release()
            raise self._died()
        return _parse(self.name, line)

    def _died(self) -> PartDiedError:
        code = self.exit_code
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        words = self.stderr.strip()
        return PartDiedError(
            f"{self.name} ended {how}" + (f"; its last lines:\n{words}" if words else "; it wrote nothing")
        )


def _reading(stream: IO[str] | None, keep: Callable[[str], Any]) -> threading.Thread:
    """Reads a stream in a thread of its own, so that the part never waits for us; "" marks the end."""

    def read() -> None:
        for line in stream or ():
            keep(line)
        keep("")

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _parse(name: str, line: str) -> dict[str, str]:
    try:
        announcement = json.loads(line)
    except json.JSONDecodeError:
        announcement = None
    if not isinstance(announcement, dict) or "listening" not in announcement:
        raise PartNotReadyError(
            f"{name} did not announce where it listens, but printed: {line.strip()[:200]}"
        )
    return {str(key): str(value) for key, value in announcement.items()}
