"""What happened, for whoever watches: each thing once, in its order, to every open page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any


class Events:
    """Hands each event to every listener. To be used in one event loop; say() from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners: set[asyncio.Queue[str]] = set()

    def say(self, party: str, what: str, **more: Any) -> None:
        """Tells the pages; `party` is "client", "relay" or "bridge"."""
        line = json.dumps({"party": party, "what": what, **more})
        self._loop.call_soon_threadsafe(self._tell, line)

    async def heard(self) -> AsyncIterator[str]:
        """Events as they come, each a line of JSON."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def _tell(self, line: str) -> None:
        for queue in self._listeners:
            queue.put_nowait(line)
