"""The supervisor replaces lost workers. Its workers here are processes that do nothing (supervised.py)."""

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


def printed(popen: subprocess.Popen[str], lines: int) -> list[str]:
    assert popen.stdout is not None
    return [popen.stdout.readline().strip() for _ in range(lines)]


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("arguments", "before", "expected"),
    [
        ([], None, ["lost", "pid"]),
        (["fork-fails"], None, ["lost", "pid"]),
        (["hangs"], None, ["lost", "pid", "lost", "pid"]),
        ([], ignore_children, ["lost", "pid"]),
    ],
    ids=["at once", "after a failed fork", "after one that hangs", "with SIGCHLD ignored by the parent"],
)
def test_lost_worker_is_replaced(
    start: Start, arguments: list[str], before: Callable[[], object] | None, expected: list[str]
) -> None:
    popen = start(*arguments, before=before)
    first, *_ = sorted(printed(popen, 3))
    os.kill(int(first), signal.SIGKILL)
    lines = printed(popen, len(expected))
    assert ["pid" if line.isdigit() else line for line in lines] == expected
    os.kill(popen.pid, signal.SIGTERM)
    assert popen.wait(timeout=60) == 0


def test_signal_to_the_whole_group_is_one_order(start: Start) -> None:
    popen = start()
    printed(popen, 3)
    os.killpg(popen.pid, signal.SIGTERM)
    assert popen.wait(timeout=60) == 0
