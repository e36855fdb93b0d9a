"""Points in time that nothing in a response moves (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio
import math
from typing import Final

_MILLISECOND: Final = 0.001


class Grid:
    """Every `step` milliseconds since it was made, in the running event loop."""

    def __init__(self, step: int) -> None:
        self._step = step * _MILLISECOND
        self._began = asyncio.get_running_loop().time()

    @property
    def remaining(self) -> float:
        """Seconds until the next point. A point less than a millisecond ahead has been reached."""
        passed = asyncio.get_running_loop().time() - self._began
        return (math.floor((passed + _MILLISECOND) / self._step) + 1) * self._step - passed

    async def wait(self) -> None:
        """Waits for the next point."""
        await asyncio.sleep(self.remaining)
