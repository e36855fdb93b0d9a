"""A load generator: a process of its own, which sends what it is told to and reports the outcome.

    python -m bench.load

Reads one JSON object a line from stdin and answers each with one on stdout; ends when stdin does. The first
opens the way, the others use it:

    {"way": "sealed", "given": {"connection": "blindrelay://…"}, "concurrency": 8}
    {"do": "closed", "work": {…}, "concurrency": 8, "seconds": 1.0}
    {"do": "open", "work": {…}, "rate": 100.0, "seconds": 1.0}
    {"do": "hold", "work": {…}, "count": 1000}
    {"do": "hold", "work": {…}, "count": 50, "read": false}
    {"do": "release"}

What is held is read as it comes, or not beyond its first piece. A run may also have a "body", which is then
sent instead of the work's own. The response to the first line is {"ready": true}, or {"error": "…"} if the
way cannot be opened.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
from typing import Any

from bench.loops import Held, Loop
from bench.probes import wire_bytes
from bench.ways import Way, open_way
from bench.work import Work
from blindrelay.client import BlindRelayError


async def _obey(lines: asyncio.Queue[str]) -> None:
    opened = json.loads(await lines.get())
    try:
        way = open_way(opened["way"], opened["given"], opened["concurrency"])
    except BlindRelayError as error:
        _say({"error": str(error)})
        return
    gc.collect()
    gc.freeze()  # or each run would go through all modules again, on the client's account
    _say({"ready": True})
    held: Held | None = None
    try:
        while line := await lines.get():
            order = json.loads(line)
            match order.pop("do"):
                case "hold":
                    count, work = order.pop("count"), Work.from_dict(order.pop("work"))
                    held = held or Held(way, work)
                    _say(await held.hold(count, read=order.pop("read", True)))
                case "release":
                    if held is not None:
                        await held.release()
                    held = None
                    _say({})
                case kind:
                    _say(await _run(way, kind, Work.from_dict(order.pop("work")), order))
    finally:
        await way.aclose()


async def _run(way: Way, kind: str, work: Work, order: dict[str, Any]) -> dict[str, Any]:
    body = order.pop("body", None)
    loop = Loop(way, work, None if body is None else body.encode())
    gc.collect()
    up, down = wire_bytes(way.port)
    outcome = await (loop.open(**order) if kind == "open" else loop.closed(**order))
    up_then, down_then = wire_bytes(way.port)
    return {**outcome, "wire": {"sent": up_then - up, "received": down_then - down}}


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    # A daemon thread: it must not keep the process alive while it waits for a line.
    threading.Thread(target=read, daemon=True).start()
    await _obey(lines)


if __name__ == "__main__":
    asyncio.run(_main())
