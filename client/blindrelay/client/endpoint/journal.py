"""The last exchanges: what the relay could see of each, and how it ended. Nothing of their content."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from blindrelay.client.endpoint.client_body import ClientGoneError
from blindrelay.client.relay_view import RelayView

KEPT_EXCHANGES: Final = 50

OPEN: Final = "open"
WHOLE: Final = "whole"
LEFT: Final = "ended by the program"


@dataclass
class Entry:
    """One exchange."""

    view: RelayView
    outcome: str = OPEN


@dataclass
class Noted:
    """The exchanges of one request: one, or two if the bridge was restarted in between."""

    entries: list[Entry] = field(default_factory=list)

    def ends(self, outcome: str) -> None:
        """Notes how those end that are open."""
        for entry in self.entries:
            if entry.outcome == OPEN:
                entry.outcome = outcome


_current: ContextVar[Noted | None] = ContextVar("_current", default=None)


class Journal:
    """Keeps the last exchanges. Its observe() is a SealedTransport's observer."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT_EXCHANGES)

    @property
    def entries(self) -> list[Entry]:
        """The newest first."""
        return list(reversed(self._entries))

    def observe(self, view: RelayView) -> None:
        """Takes note of an exchange that begins, in the task of its request."""
        entry = Entry(view)
        self._entries.append(entry)
        if (noted := _current.get()) is not None:
            noted.entries.append(entry)

    @contextmanager
    def request(self) -> Iterator[Noted]:
        """While a request is served; exchanges that are open at its end have failed."""
        noted = Noted()
        reset = _current.set(noted)
        try:
            yield noted
        except (asyncio.CancelledError, ClientGoneError):
            noted.ends(LEFT)
            raise
        finally:
            noted.ends("failed")
            _current.reset(reset)
