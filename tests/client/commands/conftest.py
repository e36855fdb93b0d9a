"""Command lines, run in this process or at a terminal, against real relays."""

from __future__ import annotations

import codecs
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

import pytest

from blindrelay.client.cli import main
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE

from ..scripted_bridge import TAIL, Response, ScriptedBridge, answering, head

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; returns the exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(each) for each in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def to_bed(bed: Testbed, monkeypatch: pytest.MonkeyPatch) -> Testbed:
    """The bed, configured in the environment."""
    monkeypatch.setenv("BLINDRELAY_CONNECTION", f"{bed.relay}&shape=off")
    return bed


@pytest.fixture
def to_bridge(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> ScriptedBridge:
    """The scripted bridge, configured in the environment."""
    monkeypatch.setenv("BLINDRELAY_CONNECTION", bridge.connection)
    return bridge


@cache
def walls_are_allowed() -> bool:
    """Whether `blindrelay run --wall` can work here, according to unshare(1)."""
    probe = ["unshare", "--user", "--map-root-user", "--net", "true"]
    return sys.platform == "linux" and subprocess.run(probe, check=False).returncode == 0


EVENTS = head(content_type=b"text/event-stream")


def streaming(*pieces: bytes) -> Response:
    """A response with this event stream."""
    return answering({"head": EVENTS}, *({"body": piece} for piece in pieces), tail=TAIL)


def succeeded(run: Run, *arguments: object) -> str:
    """What a command prints that succeeds and says nothing on stderr."""
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    return out


def refused(run: Run, *arguments: object, code: int = 2) -> str:
    """The only line on stderr of a command that fails with this exit code and prints nothing else."""
    got, out, err = run(*arguments)
    assert (got, out, err.count("\n")) == (code, "", 1)
    assert err.startswith("blindrelay: ")
    return err


# Takes the terminal for its own, so that Ctrl-C is for it.
AT_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from blindrelay.client.cli import main
sys.exit(main())
"""


class Terminal:
    """A command in a pseudo-terminal: what it shows, and what is typed."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.shown = ""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def wait_for(self, text: str) -> None:
        """Reads until the text is shown, after the text of the last wait."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.shown.find(text, self._seen)) < 0:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            more = bool(ready) and self._read()
            assert more, f"{text!r} was not shown, but {self.shown!r}"
        self._seen = found + len(text)

    @property
    def left(self) -> str:
        """What is still on the screen. Cleared lines, such as a spinner's, are not."""
        return "\n".join(line.rpartition("\x1b[K")[2] for line in self.shown.split("\n"))

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def interrupt(self) -> int:
        """Presses Ctrl-C until the command ends, since input() can miss it; returns the exit code."""
        while True:
            self.type("\x03")
            try:
                self.process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
            return self.end()

    def end(self) -> int:
        """Reads to the end; returns the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        """Reads what is shown next. Returns False at the end."""
        try:
            piece = os.read(self._descriptor, 65_536)
        except OSError:  # Linux says so when the other side is closed
            piece = b""
        self.shown += self._decoder.decode(piece)  # a character may come in two pieces
        return bool(piece)


@contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """`blindrelay` with these arguments, at a terminal of its own."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", AT_TERMINAL, *arguments],
        stdin=there,
        stdout=there,
        stderr=there,
        env=os.environ | {"TERM": "xterm", **environment},
        start_new_session=True,
    )
    os.close(there)
    try:
        yield Terminal(process, here)
    finally:
        process.kill()
        process.wait()
        os.close(here)


def command(
    *arguments: str, environment: Mapping[str, str] | None = None, new_session: bool = False
) -> subprocess.Popen[bytes]:
    """`blindrelay` as a process, with pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "blindrelay.client", *arguments],
        env=os.environ | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=new_session,
    )
