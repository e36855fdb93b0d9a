"""Warnings before something ends: a delegation, or the validity of the prices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blindrelay.provider_bridge.audit_log import Event


class Countdown:
    """Notes each warning once, until there is more time left again.

    `warnings` are events by the seconds that are left, at most, the least first. `note` takes the first that
    applies.
    """

    def __init__(self, note: Callable[[Event], None], warnings: Sequence[tuple[float, Event]]) -> None:
        self._note = note
        self._warnings = warnings
        self._said: Event | None = None

    def look(self, left: float) -> None:
        """Tells how many seconds are left."""
        due = next((event for limit, event in self._warnings if left <= limit), None)
        if due is not self._said:
            self._said = due
            if due is not None:
                self._note(due)
