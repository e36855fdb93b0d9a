"""When a refusal leaves: on a tick that all refusals share, so that its time does not tell its cause."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

REFUSAL_SECONDS: Final = 0.05
"""From the first message to a refusal, at least: far more than looking for any cause takes. Ticks are as far
apart, so a refusal takes up to twice as long."""


def tick_after(since: float, seconds: float) -> int:
    """The number of the first tick, `seconds` apart, that is at least as much after `since`."""
    return math.ceil(since / seconds) + 1


class RefusalTicks:
    """One grid of time for a process, in steps of `seconds` of the event loop's clock."""

    def __init__(self, seconds: float = REFUSAL_SECONDS) -> None:
        self._seconds = seconds
        self._ticks: dict[int, asyncio.Task[None]] = {}

    async def wait(self, since: float) -> None:
        """Returns on the first tick that is a whole step or more after `since`, a time of the event loop."""
        number = tick_after(since, self._seconds)
        if number not in self._ticks:
            self._ticks[number] = asyncio.create_task(self._tick(number))
        await asyncio.shield(self._ticks[number])

    async def _tick(self, number: int) -> None:
        """Sleeps in a thread: the event loop's own timers are rounded to a millisecond after its last event,
        which may be the end of looking for one cause.
        """
        try:
            left = number * self._seconds - asyncio.get_running_loop().time()
            await asyncio.to_thread(time.sleep, max(0.0, left))
        finally:
            del self._ticks[number]
