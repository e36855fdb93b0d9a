"""The claim memory: each exchange is accepted once (spec/protocol.md, section 11.1)."""

from __future__ import annotations

import heapq
from typing import Final

from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.v1.limits import REPLAY_WINDOW

CAPACITY: Final = 500_000
"""Claims held at once, about 100 MB: 800 exchanges a second, all day, with the window at its widest."""


class ClaimMemory:
    """One for a process, over all its keys. It fails closed: what cannot be remembered is not accepted.

    It is used from one event loop and never awaits, so a claim is atomic.
    """

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY, window: int = REPLAY_WINDOW) -> None:
        self._clock = clock
        self._capacity = capacity
        self._window = window
        self._claimed: set[bytes] = set()
        self._by_time: dict[int, list[bytes]] = {}
        self._times: list[int] = []

    def __len__(self) -> int:
        return len(self._claimed)

    def claim(self, exchange_id: bytes, issued_at: int) -> None:
        """Takes an exchange_id, kept until issued_at + window.

        Raises UnclaimedError if issued_at is more than the window from now, before or after, if the
        exchange_id is taken, or if the memory is full.
        """
        now = self._clock.now()
        self._forget_before(now - self._window)
        if not now - self._window <= issued_at <= now + self._window:
            raise UnclaimedError
        if exchange_id in self._claimed or len(self._claimed) >= self._capacity:
            raise UnclaimedError
        self._claimed.add(exchange_id)
        if issued_at not in self._by_time:
            self._by_time[issued_at] = []
            heapq.heappush(self._times, issued_at)
        self._by_time[issued_at].append(exchange_id)

    def _forget_before(self, oldest: float) -> None:
        # What is forgotten was issued before the window, and is refused for that from now on.
        while self._times and self._times[0] < oldest:
            self._claimed.difference_update(self._by_time.pop(heapq.heappop(self._times)))
