"""Many calls and clients, and nothing grows. `make soak` makes twenty times as many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ScriptedBridge

FACTOR = int(os.environ.get("BLINDRELAY_SOAK", "1"))
ROOM = 4 * 1024 * 1024
"""Bytes that memory may grow by while it settles; `make soak` sees a leak of 400 bytes a call."""

ROOM_FOR_A_LOOP = 4 * 1024
"""Bytes. If a loop ends just after a response and without aclose(), gRPC keeps the operations that it
was waiting for: 2.7 KiB for each loop on average."""

CLIENT = Path(__file__).with_name("busy_client.py")
URL = "https://api.openai.com/v1/chat/completions"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process holds is read in /proc")
@pytest.mark.parametrize(
    ("way", "calls"),
    [("asynchronous", 600), ("loops", 100), ("dropped", 50)],
)
def test_nothing_grows(way: str, calls: int, bridge: ScriptedBridge) -> None:
    command = [sys.executable, str(CLIENT), bridge.connection, way, str(calls * FACTOR)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = json.loads(done.stdout)
    assert after["memory"] - before["memory"] < ROOM + (way == "loops") * calls * FACTOR * ROOM_FOR_A_LOOP
    assert after["files"] <= before["files"] + 2
    assert after["threads"] <= before["threads"] + 2
    assert after["tasks"] <= before["tasks"] + 2
    assert bridge.calls == calls * FACTOR
