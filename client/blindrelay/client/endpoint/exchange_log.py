"""The last exchanges: what the relay could see of each, how it ended, and its content if that is wanted."""

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
FAILED: Final = "failed"


@dataclass
class Entry:
    """One exchange. `content` is None unless contents are kept."""

    view: RelayView
    outcome: str = OPEN
    content: Content | None = field(default=None, repr=False)


@dataclass
class LoggedRequest:
    """The exchanges of one request: one, or two if the bridge was restarted in between."""

    entries: list[Entry] = field(default_factory=list)
    content: Content | None = field(default=None, repr=False)

    def sent(self, data: bytes) -> None:
        """Adds data that the program sends, where contents are kept."""
        if self.content is not None:
            self.content.request_body.add(data)

    def responded(self, status: int) -> None:
        """Sets the response's status, where contents are kept."""
        if self.content is not None:
            self.content.status = status

    def received(self, data: bytes) -> None:
        """Adds data of the response, where contents are kept."""
        if self.content is not None:
            self.content.response_body.add(data)

    def ended(self, outcome: str) -> None:
        """Sets the outcome of the exchanges that are open."""
        for entry in self.entries:
            if entry.outcome == OPEN:
                entry.outcome = outcome


_current: ContextVar[LoggedRequest | None] = ContextVar("_current", default=None)


class ExchangeLog:
    """Keeps the last exchanges. Its observe() is a SealedTransport's observer.

    Args:
        keeps_content: whether to keep what requests and responses say, in memory.
    """

    def __init__(self, *, keeps_content: bool = False) -> None:
        self.keeps_content = keeps_content
        self._entries: deque[Entry] = deque(maxlen=KEPT_EXCHANGES)

    @property
    def entries(self) -> list[Entry]:
        """The newest first."""
        return list(reversed(self._entries))

    def observe(self, view: RelayView) -> None:
        """Adds an exchange that begins, in the task of its request."""
        logged = _current.get() or LoggedRequest()
        entry = Entry(view, content=logged.content)
        self._entries.append(entry)
        logged.entries.append(entry)

    @contextmanager
    def request(self, method: str, url: str) -> Iterator[LoggedRequest]:
        """Logs a request while the block runs. Exchanges still open at its end have failed."""
        logged = LoggedRequest(content=Content(method, url.partition("?")[0]) if self.keeps_content else None)
        reset = _current.set(logged)
        try:
            yield logged
        except (asyncio.CancelledError, ClientGoneError):
            logged.ended(LEFT)
            raise
        finally:
            logged.ended(FAILED)
            _current.reset(reset)
