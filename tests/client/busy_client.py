"""A program that makes many calls and prints what it held after a tenth and after all of them.

    python busy_client.py CONNECTION WAY CALLS

WAY is asynchronous, loops (an asyncio.run for each call) or dropped (a new client for each call, which is not
closed). Prints JSON: [after a tenth of the calls, after all], each with "memory" in bytes, open "files",
"threads" and asyncio's "tasks".
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from blindrelay.client import SealedTransport

URL = "https://api.openai.com/v1/chat/completions"
SETTLING_SECONDS = 30

Held = dict[str, int]


def held(tasks: int = 0) -> Held:
    status = Path("/proc/self/status").read_text()
    return {
        "memory": int(status.partition("VmRSS:")[2].split()[0]) * 1024,
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "tasks": tasks,
    }


async def asynchronously(sealed: SealedTransport, calls: int) -> list[Held]:
    seen = []
    async with sealed.async_httpx2_client() as client:
        for number in range(1, calls + 1):
            (await client.get(URL)).raise_for_status()
            if number in (calls // 10, calls):
                seen.append(held(len(asyncio.all_tasks())))
    return seen


def main(connection: str, way: str, calls: int) -> list[Held]:
    sealed = SealedTransport(connection)
    client = sealed.async_httpx2_client()

    async def in_a_loop() -> None:
        (await client.get(URL)).raise_for_status()

    def once() -> None:
        if way == "loops":
            asyncio.run(in_a_loop())
        else:
            sealed.httpx2_client().get(URL).raise_for_status()

    if way == "asynchronous":
        return asyncio.run(asynchronously(sealed, calls))
    for _ in range(calls // 10):
        once()
    before = settled(lambda _: False)
    for _ in range(calls - calls // 10):
        once()
    return [before, settled(lambda now: now["threads"] <= before["threads"])]


def settled(enough: Callable[[Held], bool]) -> Held:
    """What is held once ending threads have ended, or have taken too long."""
    deadline = time.monotonic() + SETTLING_SECONDS
    last = -1
    while True:
        gc.collect()
        now = held()
        if enough(now) or now["threads"] == last or time.monotonic() > deadline:
            return now
        last = now["threads"]
        time.sleep(1)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3], int(sys.argv[3]))))
