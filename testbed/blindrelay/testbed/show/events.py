"""Events for the open pages: each page gets every event once, in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

_READY: Final = json.dumps({"party": "page", "what": "ready"})


class Events:
    """Hands each event to every listener. To be used in one event loop; say() from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[str]] = set()
        self._since_the_beginning: list[str] = []

    def say(self, party: str, what: str, *, at: float | None = None, **more: Any) -> None:
        """Tells the pages; `party` is "client", "relay" or "bridge", `at` Unix seconds, now if not given.

        "begin" begins an exchange: a page that is opened later hears all since the last one.
        """
        line = json.dumps({"party": party, "what": what, "at": time.time() if at is None else at, **more})
        self._loop.call_soon_threadsafe(self._tell, line, what == "begin")

    async def heard(self) -> AsyncIterator[str]:
        """The last exchange's events, "ready", and then events as they come; each is a line of JSON."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        for line in (*self._since_the_beginning, _READY):
            queue.put_nowait(line)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def _tell(self, line: str, begins: bool) -> None:
        if begins:
            self._since_the_beginning.clear()
        self._since_the_beginning.append(line)
        for queue in self._listeners:
            queue.put_nowait(line)
