"""A time limit for waits that follow each other, with one timer for all of them.

asyncio.timeout() sets a timer for each wait and cancels it. A stream waits for thousands of records, and
most come within milliseconds (ADR 17).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class WaitLimit:
    """Limits one wait at a time, in one event loop. Its timer goes off at most once after the last wait."""

    def __init__(self) -> None:
        self._waiting: asyncio.Task[Any] | None = None
        self._deadline = 0.0
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work. Raises TimeoutError if it takes longer. None means no limit."""
        if seconds is None:
            return await work
        task = self._waiting = asyncio.current_task()
        assert task is not None  # noqa: S101 (asyncio runs coroutines in tasks)
        cancelling = task.cancelling()
        self._go_off_in(seconds)
        try:
            return await work
        except asyncio.CancelledError:
            if self._expired and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._waiting = None

    def close(self) -> None:
        """Drops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_off_in(self, seconds: float) -> None:
        self._expired = False
        self._deadline = asyncio.get_running_loop().time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._go_off)

    def _go_off(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        if asyncio.get_running_loop().time() < self._deadline:  # an earlier wait has set the timer
            self._set_timer()
        else:
            self._expired = True
            self._waiting.cancel()
