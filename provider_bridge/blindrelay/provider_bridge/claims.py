"""The claim memory: each exchange is accepted once (spec/protocol.md, section 11.1)."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import Final

from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.v1.limits import REPLAY_WINDOW

CAPACITY: Final = 1_000_000
"""Claims held at once, about 110 MB when full. One peer alone can hold half of them: 1,600 exchanges a second
with a clock that is right, and 800 with every exchange dated as far ahead as the window lets it be."""

STEPS: Final = 1_000
"""A peer sees what others hold in steps of a 1,000th of the capacity: a thousand claims."""


class ClaimMemory:
    """One for a process, over all its keys. It fails closed: what cannot be remembered is not accepted.

    It is shared between the peers that bring exchanges as switches share a buffer between their ports: each
    may hold as much as is free at that moment (the dynamic threshold of Choudhury and Hahne, IEEE/ACM
    Transactions on Networking 6(2), 1998, with a factor of 1). One that takes all it can leaves half, n that
    do leave 1/(n + 1): there is always room for another.

    That a peer has no room tells it how much the others hold. So each one's claims are taken down to whole
    steps, one by one: neither a peer's own claims nor those of an accomplice show where within a step a third
    is. That makes shares uneven by a step or two, and ten peers that one after the other take all they can
    may leave nothing.

    It is used from one event loop and never awaits, so a claim is atomic.
    """

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY, window: int = REPLAY_WINDOW) -> None:
        self._clock = clock
        self._capacity = capacity
        self._window = window
        self._claimed: set[bytes] = set()
        self._step = max(1, capacity // STEPS)
        self._held: Counter[bytes] = Counter()
        self._whole_steps = 0
        self._by_time: dict[int, defaultdict[bytes, list[bytes]]] = {}
        self._times: list[int] = []

    def __len__(self) -> int:
        """Claims held now."""
        self._forget_before(self._clock.now() - self._window)
        return len(self._claimed)

    @property
    def capacity(self) -> int:
        """Claims held at most, by all peers together."""
        return self._capacity

    def has_room(self, peer: bytes = b"") -> bool:
        """Whether a peer may hold one more claim now. It depends on counts alone, others' in whole steps."""
        self._forget_before(self._clock.now() - self._window)
        return self._may_hold_more(peer)

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
        if exchange_id in self._claimed or not self._may_hold_more(peer):
            raise UnclaimedError
        self._claimed.add(exchange_id)
        self._account(peer, 1)
        if issued_at not in self._by_time:
            self._by_time[issued_at] = defaultdict(list)
            heapq.heappush(self._times, issued_at)
        self._by_time[issued_at][peer].append(exchange_id)

    def _may_hold_more(self, peer: bytes) -> bool:
        held = self._held[peer]
        others = (self._whole_steps - held // self._step) * self._step
        return held < self._capacity - held - others and len(self._claimed) < self._capacity

    def _account(self, peer: bytes, more: int) -> None:
        held = self._held.pop(peer, 0)
        self._whole_steps += (held + more) // self._step - held // self._step
        if held + more:
            self._held[peer] = held + more

    def _forget_before(self, oldest: float) -> None:
        # What is forgotten was issued before the window, and is refused for that from now on.
        while self._times and self._times[0] < oldest:
            for peer, claimed in self._by_time.pop(heapq.heappop(self._times)).items():
                self._claimed.difference_update(claimed)
                self._account(peer, -len(claimed))
