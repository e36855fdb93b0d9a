"""Points in time that nothing in a response moves (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio
import math
from typing import Final

_MILLISECOND: Final = 0.001


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
    def remaining(self) -> float:
        """Seconds until the next point. A point less than a millisecond ahead has been reached."""
        passed = asyncio.get_running_loop().time() - self._began
        return (math.floor((passed + _MILLISECOND) / self._step) + 1) * self._step - passed

    async def wait(self) -> None:
        """Waits for the next point."""
        await asyncio.sleep(self.remaining)
