"""Points in time that nothing in a response moves (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio
import math
from typing import Final

_MILLISECOND: Final = 0.001

AHEAD_SECONDS: Final = 0.005
"""How long before a point that is made which leaves there. A cell with text takes half a millisecond."""


class Grid:
    """Every `step` milliseconds since it was made, in the running event loop.

    An aligned one counts from the last of the event loop's own half steps. The records of many exchanges then
    leave at once, and the bridge, the relay and the client are woken once for all of them.
    """

    def __init__(self, step: int, *, aligned: bool = False) -> None:
        self._step = step * _MILLISECOND
        self._began = asyncio.get_running_loop().time()
        if aligned:
            half = self._step / 2
            self._began = math.floor(self._began / half) * half

    @property
    def next(self) -> float:
        """The next point, in the event loop's time. One less than a millisecond ahead has been reached."""
        passed = asyncio.get_running_loop().time() - self._began
        return self._began + (math.floor((passed + _MILLISECOND) / self._step) + 1) * self._step

    @property
    def remaining(self) -> float:
        """Seconds until the next point."""
        return self.next - asyncio.get_running_loop().time()

    async def wait(self) -> None:
        """Waits for the next point."""
        await until(self.next)

    async def ahead(self) -> float:
        """Waits until shortly before the next point, and returns the point.

        What leaves there is made now, and then waits `until` the point: how long it took does not show.
        """
        point = self.next
        await until(point - AHEAD_SECONDS)
        return point


async def until(moment: float) -> None:
    """Waits for a moment in the event loop's time. Returns at once if it has passed."""
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
