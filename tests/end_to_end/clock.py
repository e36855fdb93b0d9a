"""Waiting for what only a clock brings."""

from __future__ import annotations

import time


def wait_for_the_next_second() -> None:
    """A start in the second in which a key was announced does not count as one since (section 12)."""
    time.sleep(1 - time.time() % 1)
