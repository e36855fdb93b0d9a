"""Looks for canaries with each party, and notes what was found where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

import grpc

from blindrelay.testbed.evidence.canaries import Canaries
from blindrelay.testbed.evidence.forms import spellings, window
from blindrelay.testbed.evidence.memory import memory_of
from blindrelay.testbed.evidence.result import Look
from blindrelay.testbed.evidence.search import Needles

HOPS: Final = {
    "relay": ("client to relay", "relay to bridge"),
    "ledger": ("relay to ledger", "ledger to bridge"),
    "bridge": ("bridge to provider",),
    "plain relay": ("client to plain relay", "plain relay to provider"),
}
"""The hops that each party can see."""

_HEALTH: Final = "/grpc.health.v1.Health/Check"


class Looking:
    """Knows what was sealed, and, for the relay that reads, what was sent in clear.

    With `only_its_own` a process's memory is that which it can write: the rest is as the files that it is of.
    """

    def __init__(
        self, sealed: Iterable[Canaries], in_clear: Iterable[Canaries], *, only_its_own: bool
    ) -> None:
        self._only_its_own = only_its_own
        self._sealed = _needles(sealed)
        self._in_clear = _needles(in_clear)

    def at(self, party: str, place: str, pieces: Iterable[bytes]) -> Look:
        """What is found in the pieces."""
        needles = self._in_clear if party == "plain relay" else self._sealed
        found: set[str] = set()
        size = 0
        for data in pieces:
            size += len(data)
            found |= needles.found_in(data)
        kinds = Counter(name.partition(" ")[2] for name in found)
        return Look(party, place, size, dict(sorted(kinds.items())))

    def at_memory(self, party: str, when: str, pids: Iterable[int]) -> Look:
        """As at(), in the memory of processes as it is now. Raises PermissionError."""
        return self.at(party, f"memory, {when}", self.memories_of(pids))

    def memories_of(self, pids: Iterable[int]) -> Iterator[bytes]:
        """The memory of several processes, in pieces."""
        return (data for pid in pids for data in memory_of(pid, only_its_own=self._only_its_own))


def _needles(all_canaries: Iterable[Canaries]) -> Needles:
    named = {
        f"{number} {kind}": spellings(word)
        for number, canaries in enumerate(all_canaries)
        for kind, word in canaries.words.items()
    }
    return Needles(named, window)


def health_response(relay: str) -> bytes:
    """The relay's health response. In this run it has no other interface that answers in clear."""
    with grpc.insecure_channel(relay) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_HEALTH)
        return check(b"", timeout=60)
