"""The supervisor replaces lost workers. Its workers here are processes that do nothing (supervised.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("supervised.py")


@pytest.mark.parametrize("mode", ["at-once", "fork-fails", "hangs", "ignored"])
def test_lost_worker_is_replaced_and_a_signal_to_the_group_is_one_order(mode: str) -> None:
    """Also after a fork that fails, a worker that hangs, and by a parent that ignores SIGCHLD."""
    command = [sys.executable, str(PROGRAM), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as popen:
        assert popen.stdout is not None
        try:
            *_, (_, first) = sorted((popen.stdout.readline().split() for _ in range(3)), key=len)
            os.kill(int(first), signal.SIGKILL)
            expected = ["lost", "pid"] * (2 if mode == "hangs" else 1)
            assert [popen.stdout.readline().split()[0] for _ in expected] == expected
            os.killpg(popen.pid, signal.SIGTERM)
            assert popen.wait(timeout=60) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
