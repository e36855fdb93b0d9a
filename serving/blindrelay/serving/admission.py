"""How many calls run at once, how callers share a limited resource, and whether new calls are accepted."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from blindrelay.serving.errors import CallRefusedError
from blindrelay.v1.outer_status import OuterStatus


class Admission:
    """Lets at most `limit` calls run at once. Once closed, it admits no new ones.

    It is not idle until `quiet_seconds` have passed without a new call. By then, clients that call repeatedly
    have been told that it is closed.
    """

    def __init__(self, limit: int, quiet_seconds: float = 0.0) -> None:
        self._limit = limit
        self._quiet_seconds = quiet_seconds
        self._last = -math.inf
        self._running = 0
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """The number of admitted calls that have not ended."""
        return self._running

    @property
    def draining(self) -> bool:
        """Whether new calls are refused because the process is shutting down."""
        return self._closed

    @contextmanager
    def admit(self, *, draining: bool = False) -> Iterator[None]:
        """Admits one call while the block runs, with `draining` also after close().

        Raises CallRefusedError: DRAINING or OVERLOADED.
        """
        if self._closed and not draining:
            raise CallRefusedError(OuterStatus.DRAINING)
        if self._running >= self._limit:
            raise CallRefusedError(OuterStatus.OVERLOADED)
        self._running += 1
        self._last = time.monotonic()
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    def close(self) -> None:
        """Refuses every new call with DRAINING from now on."""
        self._closed = True

    async def idle(self) -> None:
        """Waits until no admitted call is running, and `quiet_seconds` have passed without a new one."""
        await self._idle.wait()
        while (left := self._last + self._quiet_seconds - time.monotonic()) > 0:
            await asyncio.sleep(left)
            await self._idle.wait()


class Shares:
    """A limited resource that holders share: calls, connections, bytes.

    A holder may have at most `each` of it, and never more than is left free. So one greedy holder gets half,
    two get a third each, and a small holder still gets something.
    """

    def __init__(self, room: int, each: int | None = None) -> None:
        self._free = room
        self._each = room if each is None else each
        self._held: Counter[Hashable] = Counter()

    @contextmanager
    def hold(self, holder: Hashable) -> Iterator[None]:
        """Takes one unit while the block runs. Raises CallRefusedError: OVERLOADED."""
        with self.share_of(holder) as share:
            share.add(1)
            yield

    @contextmanager
    def share_of(self, holder: Hashable) -> Iterator[Share]:
        """The share of one call of this holder. It is released at the end of the block."""
        share = Share(self, holder)
        try:
            yield share
        finally:
            share.release()

    def acquire(self, holder: Hashable, amount: int) -> None:
        """Raises CallRefusedError: OVERLOADED."""
        if self._held[holder] + amount > min(self._each, self._free):
            raise CallRefusedError(OuterStatus.OVERLOADED)
        self._held[holder] += amount
        self._free -= amount

    def release(self, holder: Hashable, amount: int) -> None:
        self._free += amount
        self._held[holder] -= amount
        if not self._held[holder]:
            del self._held[holder]


class Share:
    """What one call has of a shared resource."""

    def __init__(self, shares: Shares, holder: Hashable) -> None:
        self._shares = shares
        self._holder = holder
        self._amount = 0

    def add(self, amount: int) -> None:
        """Acquires more. Raises CallRefusedError: OVERLOADED."""
        self._shares.acquire(self._holder, amount)
        self._amount += amount

    def release(self) -> None:
        """Releases everything."""
        if self._amount:
            self._shares.release(self._holder, self._amount)
            self._amount = 0
