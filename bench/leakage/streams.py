"""A client process that reads streamed answers, to count what they cost.

It reads one JSON object from stdin (connection, count) and makes one exchange to warm up. It prints a line
and waits for one. Then it makes the exchanges and waits until the last cell has come. At the end it prints a
JSON object: the seconds of CPU time, and for each exchange its number and the milliseconds until the first of
the text.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import httpx

from blindrelay.client import SealedTransport
from blindrelay.client.lingering import lingering

_URL: Final = "https://api.openai.com/v1/chat/completions"
_AT_ONCE: Final = 20
_ASKED: Final = "Please give me the answer with the number "


async def _run(connection: str, count: int) -> None:
    async with SealedTransport(connection) as sealed, sealed.async_httpx_client(timeout=None) as client:
        await _exchange(client, count)
        await _rest()
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        before, numbers = time.process_time(), iter(range(count))
        first: list[tuple[int, float]] = []
        await asyncio.gather(*(_work(client, numbers, place, first) for place in range(_AT_ONCE)))
        await _rest()
        print(json.dumps({"cpu": time.process_time() - before, "first": first}), flush=True)


async def _work(client: httpx.AsyncClient, numbers: Any, place: int, first: list[tuple[int, float]]) -> None:
    await asyncio.sleep(place * 0.037)
    for number in numbers:
        first.append((number, await _exchange(client, number)))


async def _exchange(client: httpx.AsyncClient, number: int) -> float:
    messages = [{"role": "user", "content": f"{_ASKED}{number:06}"}]
    body = {"model": "gpt-4o", "stream": True, "messages": messages}
    began, first = time.monotonic(), 0.0
    async with client.stream("POST", _URL, json=body) as response:
        async for _ in response.aiter_bytes():
            first = first or time.monotonic() - began
    return first * 1_000


async def _rest() -> None:
    """Waits for the cells after the end of each text."""
    while tasks := lingering(asyncio.get_running_loop()):
        await asyncio.wait(tasks)
    await asyncio.sleep(0.3)


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(_run(given["connection"], given["count"]))
