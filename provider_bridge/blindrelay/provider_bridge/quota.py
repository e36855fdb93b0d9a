"""A shared resource, and how much of it one peer may hold (spec/protocol.md, annex D)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Quota:
    """A capacity, divided evenly among a bridge's peers.

    What a peer may take depends only on what it holds, so a refusal reveals nothing about the others. The
    capacity can run out first only if there are more peers than shares, or if `least` is more than an even
    share.

    Used from one event loop.
    """

    def __init__(self, capacity: int, peers: Callable[[], int] = lambda: 1, *, least: int = 1) -> None:
        """`peers` gives their present number; `least` is the smallest share that is of any use."""
        self.capacity = capacity
        self._peers = peers
        self._least = least
        self._held: Counter[bytes] = Counter()
        self._sum = 0

    @property
    def share(self) -> int:
        """The most that one peer may hold now."""
        return min(self.capacity, max(self._least, self.capacity // max(1, self._peers())))

    @property
    def held(self) -> int:
        """What all peers hold together."""
        return self._sum

    def has_room(self, peer: bytes, amount: int = 1) -> bool:
        """Whether the peer may take `amount` more."""
        return self._held[peer] + amount <= self.share and self._sum + amount <= self.capacity

    def take(self, peer: bytes, amount: int = 1) -> bool:
        """Takes `amount` on the peer's account if it has room. Returns whether it did."""
        if not self.has_room(peer, amount):
            return False
        self._held[peer] += amount
        self._sum += amount
        return True

    def give_back(self, peer: bytes, amount: int = 1) -> None:
        """Returns `amount` that the peer holds."""
        self._sum -= amount
        self._held[peer] -= amount
        if not self._held[peer]:
            del self._held[peer]
