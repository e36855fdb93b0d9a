"""How many bytes of requests the bridge holds at once, over all exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED


class RequestBudget:
    """Bytes that all requests share. Nobody waits for room: two that wait for each other would hold both."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        """Bytes that are held now."""

    @contextmanager
    def share(self) -> Iterator[Share]:
        """One exchange's part of the budget; what it holds is given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.release()

    def take(self, size: int) -> None:
        if self.held + size > self._limit:
            raise RequestError(ERROR_CODE_OVERLOADED, "the bridge has no room for the request now")
        self.held += size


class Share:
    """What one exchange holds of a budget."""

    def __init__(self, budget: RequestBudget) -> None:
        self._budget = budget
        self._size = 0

    def add(self, size: int) -> None:
        """Takes so many bytes more. Raises RequestError if the budget has no room."""
        self._budget.take(size)
        self._size += size

    def release(self) -> None:
        """Gives everything back."""
        self._budget.held -= self._size
        self._size = 0
