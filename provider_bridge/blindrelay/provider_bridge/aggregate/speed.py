"""How long members take until the head of a response, so that a slow one does not delay the calls of others.

A call that waits is never given up: its provider may be at work. New calls go elsewhere.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from blindrelay.provider_bridge.aggregate.health import Member

SLOWER: Final = 4.0
"""A member is slow if it takes this many times the quickest of its group, and ALLOWANCE more."""

ALLOWANCE: Final = 0.5
"""Seconds. Responses differ by that much for other reasons."""

TRIED_AGAIN: Final = 30.0
"""Seconds after which a slow member gets one call, to see whether it still is."""

UNTRIED: Final = 2
"""Concurrent calls to a member whose speed is not known, while that of others is."""

_NEW: Final = 0.3
"""The weight of the last call in the average."""

_MAX_KEPT: Final = 4_096


@dataclass
class _Pace:
    usual: float = 0.0
    at: float | None = None
    waiting: dict[object, float] = field(default_factory=dict)
    """When each call that waits for its head began, the oldest first."""

    def learn(self, taken: float, now: float) -> None:
        """Takes a call into the average, or begins a new one if the last is old."""
        old = self.at is None or now - self.at >= TRIED_AGAIN
        self.usual = taken if old else self.usual + _NEW * (taken - self.usual)
        self.at = now

    def is_slow(self, bound: float, now: float) -> bool:
        """Whether it takes more than `bound` seconds, as far as that is known."""
        if now - next(iter(self.waiting.values()), now) > bound:
            return True
        if self.at is None:
            return len(self.waiting) >= UNTRIED
        if self.usual <= bound:
            return False
        return now - self.at < TRIED_AGAIN or bool(self.waiting)


class Speeds:
    """The times to the head of one bridge process. `now` gives seconds that only grow."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._paces: OrderedDict[Member, _Pace] = OrderedDict()

    @contextmanager
    def waiting(self, member: Member) -> Iterator[Callable[[], None]]:
        """Times a call. The block calls what it is given when the response's head has come."""
        pace = self._paces.setdefault(member, _Pace())
        self._paces.move_to_end(member)
        if len(self._paces) > _MAX_KEPT:
            self._paces.popitem(last=False)
        token, began = object(), self._now()
        pace.waiting[token] = began
        try:
            yield lambda: pace.learn(self._now() - began, self._now())
        finally:
            del pace.waiting[token]

    def quick(self, members: Iterable[Member]) -> set[Member]:
        """The members of a group that are not slow; all, if that leaves none."""
        group = {member: self._paces.get(member, _UNKNOWN) for member in members}
        known = [pace.usual for pace in group.values() if pace.at is not None]
        if not known:
            return set(group)
        bound, now = SLOWER * min(known) + ALLOWANCE, self._now()
        return {member for member, pace in group.items() if not pace.is_slow(bound, now)} or set(group)


_UNKNOWN: Final = _Pace()
