"""What all peers share, and how much of it one peer may hold (spec/protocol.md, section 11.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Quota:
    """A number of things, shared evenly between the peers that a bridge is run for.

    A peer's share is its own: what it may take depends on what it holds and on nothing that others do, so a
    refusal tells it nothing of them. Only where more peers come than there are shares, or where the smallest
    useful share is more than an even one, can the sum run out first.

    Used from one event loop.
    """

    def __init__(self, capacity: int, peers: Callable[[], int] = lambda: 1, *, least: int = 1) -> None:
        """`peers` says how many there are now; `least` is the smallest share that is of any use."""
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
        """Whether the peer may hold so much more."""
        return self._held[peer] + amount <= self.share and self._sum + amount <= self.capacity

    def take(self, peer: bytes, amount: int = 1) -> bool:
        """Puts so much on the peer's account if it has room. Returns whether it did."""
        if not self.has_room(peer, amount):
            return False
        self._held[peer] += amount
        self._sum += amount
        return True

    def give_back(self, peer: bytes, amount: int = 1) -> None:
        """Takes so much off the account of a peer that holds it."""
        self._sum -= amount
        self._held[peer] -= amount
        if not self._held[peer]:
            del self._held[peer]
