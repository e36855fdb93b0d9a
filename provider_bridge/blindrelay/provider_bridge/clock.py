"""The bridge's time (spec/protocol.md, section 11.1): the wall clock once, then the monotonic clock.

A wall clock that is set back would bring old exchanges into the window again, after they were forgotten.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def steady() -> float:
    """Seconds that only ever grow; on Linux also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC)


class Clock:
    """Unix seconds that never go back."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = steady
    ) -> None:
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        return self._offset + self._monotonic()
