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
"""Claims held at once, about 110 MB when full: 3,300 exchanges a second with clocks that are right, and half
as many with every exchange dated as far ahead as the window allows."""


class ClaimMemory:
    """One for a process, over all its keys. It fails closed: what cannot be remembered is not accepted.

    Each peer that brings exchanges has a share of it (`quota`), whose size is the memory's capacity.

    It is used from one event loop and never awaits, so a claim is atomic.
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
        """Whether a peer may hold one more claim now. It depends on counts alone."""
        self._forget_before(self._clock.now() - self._window)
        return self._quota.has_room(peer)

    def claim(self, exchange_id: bytes, issued_at: int, peer: bytes = b"") -> None:
        """Takes an exchange_id, kept until issued_at + window, on the account of who brought it.

        Raises UnclaimedError if issued_at is more than the window from now, before or after, if the
        exchange_id is taken, or if there is no room for the peer.
        """
        # Read once: what is forgotten by one reading must be too old by the same.
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
        # What is forgotten was issued before the window. Time never goes back, so it stays too old.
        while self._times and self._times[0] < oldest:
            for peer, claimed in self._by_time.pop(heapq.heappop(self._times)).items():
                self._claimed.difference_update(claimed)
                self._quota.give_back(peer, len(claimed))
