"""When the ledger last sent a message, however late it was read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from blindrelay.serving.boot_clock import since_boot

SILENCE_SECONDS: Final = 10.0
"""Seconds without a message of the ledger after which no exchange starts. It sends one every three seconds.
Five seconds later it gives the allowances of this process to others."""


class Contact:
    """The age of the ledger's newest message, since it was sent. `clock` returns seconds that only grow.

    While this process is stopped, messages wait in a buffer. So it counts from when the stream began: the
    ledger sent the first message later than that, and says how much later it sent each of the others.
    """

    def __init__(self, clock: Callable[[], float] = since_boot) -> None:
        self._clock = clock
        self._began = -math.inf
        self._first: float | None = None
        self._spoke_at = -math.inf

    def begin(self) -> None:
        """A stream begins."""
        self._began = self._clock()
        self._first = None

    def heard(self, sent_at: float) -> None:
        """A message was read, which the ledger sent at `sent_at`: seconds of its own clock."""
        if self._first is None:
            self._first = sent_at
        self._spoke_at = self._began + sent_at - self._first

    @property
    def silent(self) -> bool:
        """Whether the ledger may have sent nothing for SILENCE_SECONDS."""
        return self._clock() - self._spoke_at > SILENCE_SECONDS
