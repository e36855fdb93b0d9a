"""How long tests wait, and how they wait for what sends no event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 60.0
"""Seconds after which a test gives up. A busy machine may stand still for some. Only a failure takes all."""

_LOOK_SECONDS: Final = 0.01


async def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds that this event loop brings about, or another process."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_LOOK_SECONDS)


def wait_for(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds that another thread or process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(_LOOK_SECONDS)
