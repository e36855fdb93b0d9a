"""The claim memory: each exchange is accepted once (spec/protocol.md, section 11.1)."""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import Final

from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.v1.limits import REPLAY_WINDOW

CAPACITY: Final = 1_000_000
"""Claims held at once, about 110 MB when full. It allows 3,300 exchanges a second with correct clocks, and
half as many if each exchange is dated as far ahead as the window allows."""


class ClaimMemory:
    """The exchanges of one process, whatever their keys. It fails closed: no room, no claim.

    Each peer has a share (`quota`, whose capacity is the memory's). It is used from one event loop and never
    awaits, so a claim is atomic.
    """

    def __init__(self, clock: Clock, quota: Quota | None = None, *, window: int = REPLAY_WINDOW) -> None:
        self._clock = clock
        self._quota = quota or Quota(CAPACITY)
        self._window = window
        self._claimed: set[bytes] = set()
        self._by_time: dict[int, defaultdict[bytes, list[bytes]]] = {}
        self._times: list[int] = []

    def __len__(self) -> int:
        """Claims held now."""
        self._forget_before(self._clock.now() - self._window)
        return len(self._claimed)

    @property
    def capacity(self) -> int:
        """Claims held at most, by all peers together."""
        return self._quota.capacity

    def has_room(self, peer: bytes = b"") -> bool:
        """Whether a peer may hold one more claim now. It depends only on counts."""
        self._forget_before(self._clock.now() - self._window)
        return self._quota.has_room(peer)

    def claim(self, exchange_id: bytes, issued_at: int, peer: bytes = b"") -> None:
        """Claims an exchange_id on a peer's account, until issued_at + window.

        Raises UnclaimedError if issued_at is more than the window away from now, if the exchange_id is
        claimed already, or if the peer's share is full.
        """
        # The clock is read once: an exchange that is forgotten must be too old by the same reading.
        now = self._clock.now()
        self._forget_before(now - self._window)
        if not now - self._window <= issued_at <= now + self._window:
            raise UnclaimedError
        if exchange_id in self._claimed or not self._quota.take(peer):
            raise UnclaimedError
        self._claimed.add(exchange_id)
        if issued_at not in self._by_time:
            self._by_time[issued_at] = defaultdict(list)
            heapq.heappush(self._times, issued_at)
        self._by_time[issued_at][peer].append(exchange_id)

    def _forget_before(self, oldest: float) -> None:
        # The bridge's time never goes back, so a forgotten exchange stays too old.
        while self._times and self._times[0] < oldest:
            for peer, claimed in self._by_time.pop(heapq.heappop(self._times)).items():
                self._claimed.difference_update(claimed)
                self._quota.give_back(peer, len(claimed))
