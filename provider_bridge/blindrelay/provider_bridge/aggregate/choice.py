"""Which candidate is asked next: by health, priority, speed and weight, and the same for one conversation.

Each candidate draws a number from a keyed hash of the conversation's beginning, and its weight bends the
draw (weighted rendezvous hashing). So each conversation has its own order of candidates. No conversation is
remembered, and a candidate that is sick is left out as if it did not exist.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from blindrelay.provider_bridge.aggregate.health import Health, Member
from blindrelay.provider_bridge.aggregate.speed import Speeds
from blindrelay.provider_bridge.policy.request_policy import PlannedCall

_SEED_SIZE: Final = 16
_DRAW_SIZE: Final = 8
_DRAWS: Final = 2.0 ** (8 * _DRAW_SIZE)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to serve an exchange.

    Attributes:
        call: to its provider.
        weight: its share among candidates of the same priority.
    """

    member: Member
    call: PlannedCall
    weight: float = 1.0
    priority: int = 0


class Chooser:
    """Chooses among candidates. The key of its hash exists only in the memory of this process."""

    def __init__(self, health: Health, speeds: Speeds) -> None:
        self._health = health
        self._speeds = speeds
        self._key = os.urandom(32)

    def best(self, candidates: Iterable[Candidate], conversation: bytes) -> Candidate | None:
        """The best of those that do not rest, or None. An empty conversation draws at random."""
        ready = [each for each in candidates if not self._health.due(each.member)]
        if not ready:
            return None
        priority = min(each.priority for each in ready)
        group = [each for each in ready if each.priority == priority]
        quick = self._speeds.quick(each.member for each in group)
        seed = self._hash(conversation) if conversation else os.urandom(_SEED_SIZE)
        return min(
            (each for each in group if each.member in quick),
            key=lambda each: self._draw(each.member, seed) / each.weight,
        )

    def first_due(self, candidates: Iterable[Candidate]) -> Candidate | None:
        """If all candidates rest, the one whose rest ends first."""
        return min(candidates, key=lambda each: self._health.due(each.member), default=None)

    def _draw(self, member: Member, seed: bytes) -> float:
        """Draws from an exponential distribution: the least draw/weight falls on each by its weight."""
        name = f"{member.provider}\0{member.credential}\0{member.model}".encode()
        drawn = int.from_bytes(self._hash(seed + name)[:_DRAW_SIZE], "big")
        return -math.log((drawn + 1) / _DRAWS)

    def _hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=_SEED_SIZE, key=self._key).digest()
