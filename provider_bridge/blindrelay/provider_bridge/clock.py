"""The bridge's time (spec/protocol.md, section 11.1): the wall clock, but it never goes back.

If time went back, old exchanges whose claims were forgotten would be in the window again. So the bridge
follows a wall clock that is set forward. When it is set back, the bridge's time continues from where it was.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

from blindrelay.provider_bridge.audit_log import Event

STEP_SECONDS: Final = 2.0
"""The least difference that is reported: more than a leap second. Slewed clocks differ by milliseconds."""

_LOOK_EVERY: Final = 5.0


def steady() -> float:
    """Seconds that only grow; on Linux also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC)


class Clock:
    """Unix seconds that never go back."""

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = steady
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._followed = 0.0

    def now(self) -> float:
        """The time now, never less than before."""
        # Wall clock first: a pause between the two readings must not look like a step forward.
        wall, monotonic = self._wall(), self._monotonic()
        step = wall - (self._offset + monotonic)
        if step > 0:
            self._offset += step
            self._followed += step
        return self._offset + monotonic

    @property
    def followed(self) -> float:
        """Seconds, in all, by which this time was set forward to follow the wall clock."""
        self.now()
        return self._followed

    @property
    def ahead(self) -> float:
        """Seconds, 0 or more, by which this time is ahead of a wall clock that was set back."""
        return max(0.0, self.now() - self._wall())


class ClockWatch:
    """Notes when the wall clock has been set, forward or back."""

    def __init__(self, clock: Clock, note: Callable[[Event], None]) -> None:
        self._clock = clock
        self._note = note
        self._followed = clock.followed
        self._behind = False

    def look(self) -> None:
        """Notes each step forward since the last look, and a step back when it is first seen."""
        followed = self._clock.followed
        if followed - self._followed >= STEP_SECONDS:
            self._note(Event.CLOCK_SET_FORWARD)
        self._followed = followed
        behind = self._clock.ahead >= STEP_SECONDS
        if behind and not self._behind:
            self._note(Event.CLOCK_SET_BACK)
        self._behind = behind

    async def keep_looking(self) -> None:
        """Looks every few seconds until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_EVERY)
