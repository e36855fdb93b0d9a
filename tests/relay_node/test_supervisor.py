"""What a supervisor makes of a bad day: its workers are processes that do nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("supervised.py")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), *arguments]
        popen = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, preexec_fn=before, process_group=0
        )
        started.append(popen)
        return popen

    yield begin
    for popen in started:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.communicate()


def said(popen: subprocess.Popen[str], lines: int) -> list[str]:
    assert popen.stdout is not None
    return [popen.stdout.readline().strip() for _ in range(lines)]


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("arguments", "before"),
    [([], None), (["fork-fails"], None), ([], ignore_children)],
    ids=["a good day", "no process to be had at first", "started by somebody who ignores SIGCHLD"],
)
def test_a_lost_worker_is_replaced(
    start: Start, arguments: list[str], before: Callable[[], object] | None
) -> None:
    popen = start(*arguments, before=before)
    first, *_ = sorted(said(popen, 3))
    os.kill(int(first), signal.SIGKILL)
    assert said(popen, 1) == ["lost"]
    assert said(popen, 1)[0].isdigit()
    os.kill(popen.pid, signal.SIGTERM)
    assert popen.wait(timeout=60) == 0


def test_one_that_hangs_is_replaced(start: Start) -> None:
    popen = start("hangs")
    first, *_ = sorted(said(popen, 3))
    os.kill(int(first), signal.SIGKILL)
    lost, hanging, lost_again, replacement = said(popen, 4)
    assert (lost, lost_again) == ("lost", "lost")
    assert hanging.isdigit()
    assert replacement.isdigit()
    os.kill(popen.pid, signal.SIGTERM)
    assert popen.wait(timeout=60) == 0


def test_a_signal_to_the_whole_group_is_one_order(start: Start) -> None:
    popen = start()
    said(popen, 3)
    os.killpg(popen.pid, signal.SIGTERM)
    assert popen.wait(timeout=60) == 0
