"""A client process with tunnels in which nobody speaks, to count what they cost.

It reads one JSON object from stdin (connection, url, count, seconds), opens the tunnels, prints a line and
waits for one. After these seconds it prints a JSON object with its CPU time in seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import httpx

from blindrelay.client import SealedTransport
from blindrelay.client.tunnel import SealedTunnel


async def _run(connection: str, url: str, count: int, seconds: float) -> None:
    async with SealedTransport(connection) as client, asyncio.TaskGroup() as reading:
        for number in range(count):
            tunnel = await client.open_tunnel(httpx.Request("GET", f"{url}{number}"))
            reading.create_task(_read(tunnel))
        print(json.dumps({"open": count}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        before = time.process_time()
        await asyncio.sleep(seconds)
        print(json.dumps({"cpu": time.process_time() - before}), flush=True)


async def _read(tunnel: SealedTunnel) -> None:
    if await tunnel.receive() is not None:
        raise ValueError("somebody spoke in a tunnel")


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(_run(given["connection"], given["url"], given["count"], given["seconds"]))
