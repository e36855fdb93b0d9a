"""Many calls and clients, and nothing grows. `make soak` makes twenty times as many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import URL
from .scripted_bridge import ScriptedBridge

FACTOR = int(os.environ.get("BLINDRELAY_SOAK", "1"))
ROOM = 4 * 1024 * 1024
"""Bytes that memory may grow by while it settles; `make soak` sees a leak of 400 bytes a call."""

ROOM_FOR_A_LOOP = 4 * 1024
"""Bytes. If a loop ends just after a response and without aclose(), gRPC keeps the operations that it
was waiting for: 2.7 KiB for each loop on average."""

# Makes calls in one way, and prints what it holds after a tenth of them and after all.
PROGRAM = """
import asyncio, gc, json, sys, threading, time
from pathlib import Path
from blindrelay.client import SealedTransport
def held():
    status = Path("/proc/self/status").read_text()
    memory = int(status.partition("VmRSS:")[2].split()[0]) * 1024
    files = len(list(Path("/proc/self/fd").iterdir()))
    tasks = len(asyncio.all_tasks()) if asyncio._get_running_loop() else 0
    return {"memory": memory, "files": files, "threads": threading.active_count(), "tasks": tasks}
before = None
def settling():
    # Threads, files and tasks end in the background: yields while they may. Prints what is held then.
    global before
    deadline, now, last = time.monotonic() + 60, held(), None
    def may_end():
        kinds = now.keys() - {"memory"}
        if before is None:
            return last is None or any(now[kind] != last[kind] for kind in kinds)
        return any(now[kind] > before[kind] for kind in kinds)
    while may_end() and time.monotonic() < deadline:
        yield
        gc.collect()
        last, now = now, held()
    print(json.dumps(now))
    before = now
async def one_loop():
    async with sealed.async_httpx2_client() as client:
        for number in range(1, calls + 1):
            (await client.get(url)).raise_for_status()
            if number in (calls // 10, calls):
                for _ in settling():
                    await asyncio.sleep(0.5)
async def own_loop(client):
    (await client.get(url)).raise_for_status()
def many(once):
    for number in range(1, calls + 1):
        once()
        if number in (calls // 10, calls):
            for _ in settling():
                time.sleep(0.5)
url, connection, way, calls = *sys.argv[1:4], int(sys.argv[4])
sealed = SealedTransport(connection)
if way == "one loop":
    asyncio.run(one_loop())
elif way == "a loop for each call":
    client = sealed.async_httpx2_client()
    many(lambda: asyncio.run(own_loop(client)))
    del client
else:  # a client for each call, which is dropped and not closed
    many(lambda: sealed.httpx2_client().get(url).raise_for_status())
del sealed
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process holds is read in /proc")
@pytest.mark.parametrize(
    ("way", "calls"), [("one loop", 600), ("a loop for each call", 100), ("a client for each call", 50)]
)
def test_nothing_grows(way: str, calls: int, bridge: ScriptedBridge) -> None:
    command = [sys.executable, "-c", PROGRAM, URL, bridge.connection, way, str(calls * FACTOR)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    before, after = map(json.loads, done.stdout.splitlines())
    loops = calls * FACTOR if way == "a loop for each call" else 0
    assert after["memory"] - before["memory"] < ROOM + loops * ROOM_FOR_A_LOOP
    for kind in before.keys() - {"memory"}:
        assert after[kind] <= before[kind] + 2
    assert bridge.calls == calls * FACTOR
