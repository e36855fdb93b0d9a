"""Waiting for the clock."""

from __future__ import annotations

import time


def wait_for_the_next_second() -> None:
    """Waits until a restart is later than the announcement of the old key, in seconds (section 12)."""
    time.sleep(1 - time.time() % 1)
