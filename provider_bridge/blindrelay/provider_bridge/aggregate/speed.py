"""How long members take until the head of a response, so that a slow one does not hold others up.

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
"""Times the quickest of the same group, beside ALLOWANCE, from which a member counts as slow."""

ALLOWANCE: Final = 0.5
"""Seconds. Responses differ by as much for other reasons."""

FORGOTTEN: Final = 30.0
"""Seconds after which half of what a member took is forgotten, so that it is tried again."""

_NEW: Final = 0.3
"""The part that the last call has in the average."""

_MAX_KEPT: Final = 4_096


@dataclass
class _Pace:
    usual: float = 0.0
    at: float | None = None
    waiting: dict[object, float] = field(default_factory=dict)
    """When each call that waits for its head began, the oldest first."""


class Speeds:
    """The times to the head of one bridge process. `now` gives seconds that only grow."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._paces: OrderedDict[Member, _Pace] = OrderedDict()

    @contextmanager
    def waiting(self, member: Member) -> Iterator[Callable[[], None]]:
        """While a call waits for its head. The block calls what it is given when the head has come."""
        pace = self._paces.setdefault(member, _Pace())
        self._paces.move_to_end(member)
        if len(self._paces) > _MAX_KEPT:
            self._paces.popitem(last=False)
        token, began = object(), self._now()
        pace.waiting[token] = began

        def arrived() -> None:
            taken = self._now() - began
            known = taken if pace.at is None else pace.usual
            pace.usual, pace.at = known + _NEW * (taken - known), self._now()

        try:
            yield arrived
        finally:
            del pace.waiting[token]

    def quick(self, members: Iterable[Member]) -> set[Member]:
        """Those of a group that are not slow beside the quickest."""
        expected = {member: self._expected(member) for member in members}
        bound = SLOWER * min(expected.values(), default=0.0) + ALLOWANCE
        return {member for member, seconds in expected.items() if seconds <= bound}

    def _expected(self, member: Member) -> float:
        """Seconds that the next call may take: the recent average, or what the oldest has waited already."""
        pace = self._paces.get(member)
        if pace is None:
            return 0.0
        now = self._now()
        recent = 0.0 if pace.at is None else pace.usual * 0.5 ** ((now - pace.at) / FORGOTTEN)
        return max(recent, now - next(iter(pace.waiting.values()), now))
