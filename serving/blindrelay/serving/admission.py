"""How many calls run at once, and whether new ones are taken at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from blindrelay.serving.errors import CallRefusedError
from blindrelay.v1.outer_status import OuterStatus


class Admission:
    """Lets at most `limit` calls run at once, and none begin once it is closed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Calls that were admitted and have not ended."""
        return self._running

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because the process is shutting down."""
        return self._closed

    @contextmanager
    def admit(self) -> Iterator[None]:
        """One call, for as long as the block runs. Raises CallRefusedError: DRAINING or OVERLOADED."""
        if self._closed:
            raise CallRefusedError(OuterStatus.DRAINING)
        if self._running >= self._limit:
            raise CallRefusedError(OuterStatus.OVERLOADED)
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    def close(self) -> None:
        """From now on every new call is refused with DRAINING."""
        self._closed = True

    async def idle(self) -> None:
        """Waits until no admitted call is running."""
        await self._idle.wait()
