"""A program that makes many calls and prints what it held after a tenth and after all of them.

    python busy_client.py CONNECTION WAY CALLS

WAY is sequential, asynchronous, loops (an asyncio.run for each call), clients (a new one for each call) or
dropped (the same, without closing them). Prints JSON: [after a tenth of the calls, after all], each with
"memory" in bytes, open "files", "threads" and asyncio's "tasks".
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


def sequential(sealed: SealedTransport, calls: int) -> list[Held]:
    with sealed.httpx2_client() as client:
        return measured(calls, lambda: client.get(URL).raise_for_status())


def asynchronous(sealed: SealedTransport, calls: int) -> list[Held]:
    async def main() -> list[Held]:
        seen = []
        async with sealed.async_httpx2_client() as client:
            for number in range(1, calls + 1):
                (await client.get(URL)).raise_for_status()
                if number in (calls // 10, calls):
                    seen.append(held(len(asyncio.all_tasks())))
        return seen

    return asyncio.run(main())


def loops(sealed: SealedTransport, calls: int) -> list[Held]:
    client = sealed.async_httpx2_client()

    async def once() -> None:
        (await client.get(URL)).raise_for_status()

    return measured(calls, lambda: asyncio.run(once()))


def clients(sealed: SealedTransport, calls: int) -> list[Held]:
    def once() -> None:
        with sealed.httpx2_client() as client:
            client.get(URL).raise_for_status()

    return measured(calls, once)


def dropped(sealed: SealedTransport, calls: int) -> list[Held]:
    return measured(calls, lambda: sealed.httpx2_client().get(URL).raise_for_status())


def measured(calls: int, once: Callable[[], object]) -> list[Held]:
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
    ways = {each.__name__: each for each in (sequential, asynchronous, loops, clients, dropped)}
    connection, way, count = sys.argv[1:]
    print(json.dumps(ways[way](SealedTransport(connection), int(count))))
