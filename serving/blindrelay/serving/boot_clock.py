"""A clock for what must end in time even if the machine was suspended meanwhile."""

from __future__ import annotations

import time


def since_boot() -> float:
    """Seconds of a clock that only grows, and on Linux goes on while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
