"""The last exchanges: what the relay could see of each, how it ended, and content only if wanted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from blindrelay.client.endpoint.client_body import ClientGoneError
from blindrelay.client.endpoint.content import Content
from blindrelay.client.relay_view import RelayView

KEPT_EXCHANGES: Final = 50

OPEN: Final = "open"
WHOLE: Final = "whole"
LEFT: Final = "ended by the program"


@dataclass
class Entry:
    """One exchange. `content` is its request's, where contents are kept."""

    view: RelayView
    outcome: str = OPEN
    content: Content | None = field(default=None, repr=False)


@dataclass
class Noted:
    """The exchanges of one request: one, or two if the bridge was restarted in between."""

    entries: list[Entry] = field(default_factory=list)
    content: Content | None = field(default=None, repr=False)

    def sent(self, piece: bytes) -> None:
        """Notes what the program sends, where contents are kept."""
        if self.content is not None:
            self.content.request.add(piece)

    def answered(self, status: int) -> None:
        """Notes the response's status, where contents are kept."""
        if self.content is not None:
            self.content.status = status

    def received(self, piece: bytes) -> None:
        """Notes what comes back, where contents are kept."""
        if self.content is not None:
            self.content.response.add(piece)

    def ends(self, outcome: str) -> None:
        """Notes how those end that are open."""
        for entry in self.entries:
            if entry.outcome == OPEN:
                entry.outcome = outcome


_current: ContextVar[Noted | None] = ContextVar("_current", default=None)


class Journal:
    """Keeps the last exchanges. Its observe() is a SealedTransport's observer.

    Args:
        keeps_content: whether what requests and responses say is kept with them, in memory.
    """

    def __init__(self, *, keeps_content: bool = False) -> None:
        self.keeps_content = keeps_content
        self._entries: deque[Entry] = deque(maxlen=KEPT_EXCHANGES)

    @property
    def entries(self) -> list[Entry]:
        """The newest first."""
        return list(reversed(self._entries))

    def observe(self, view: RelayView) -> None:
        """Takes note of an exchange that begins, in the task of its request."""
        noted = _current.get() or Noted()
        entry = Entry(view, content=noted.content)
        self._entries.append(entry)
        noted.entries.append(entry)

    @contextmanager
    def request(self, method: str, url: str) -> Iterator[Noted]:
        """While a request is served; exchanges that are open at its end have failed."""
        noted = Noted(content=Content(method, url.partition("?")[0]) if self.keeps_content else None)
        reset = _current.set(noted)
        try:
            yield noted
        except (asyncio.CancelledError, ClientGoneError):
            noted.ends(LEFT)
            raise
        finally:
            noted.ends("failed")
            _current.reset(reset)
