"""How many bytes of requests the bridge holds at once, over all exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.sealing import Buffer
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, ERROR_CODE_TOO_LARGE
from blindrelay.v1.limits import MAX_BODY_PIECE

SMALL_REQUEST: Final = MAX_BODY_PIECE
"""Bytes of each request that are not counted: one record, which every exchange may hold in any case. So large
requests never keep a small one out."""


class RequestBudget:
    """Bytes that all requests share, beyond the first of each; a peer may hold its share of them.

    No request waits for room: two that waited for each other would both be held.
    """

    def __init__(self, quota: Quota) -> None:
        self._quota = quota

    @property
    def held(self) -> int:
        """Bytes that are counted now."""
        return self._quota.held

    @contextmanager
    def share(self, peer: bytes) -> Iterator[Share]:
        """What one exchange of the peer holds; it is given back at the end."""
        share = Share(self._quota, peer)
        try:
            yield share
        finally:
            share.release()


class Share:
    """What one exchange holds of a budget."""

    def __init__(self, quota: Quota, peer: bytes) -> None:
        self._quota = quota
        self._peer = peer
        self._size = 0
        self._counted = 0

    def append(self, body: bytearray, data: Buffer, limit: int, what: str) -> None:
        """Adds data to a body, which `what` names in errors.

        Raises RequestError if the body would be over `limit` bytes, or the peer's part of the budget is used
        up.
        """
        if len(body) + len(data) > limit:
            message = f"{what} is over {limit} bytes, the most that this bridge takes"
            raise RequestError(ERROR_CODE_TOO_LARGE, message)
        self.add(len(data))
        body += data

    def add(self, size: int) -> None:
        """Takes `size` bytes more. Raises RequestError if the peer's part of the budget is used up."""
        more = max(0, self._size + size - SMALL_REQUEST) - self._counted
        if more and not self._quota.take(self._peer, more):
            raise RequestError(
                ERROR_CODE_OVERLOADED, "the bridge cannot hold a request of this size now: try again"
            )
        self._counted += more
        self._size += size

    def release(self) -> None:
        """Gives everything back."""
        if self._counted:
            self._quota.give_back(self._peer, self._counted)
        self._size = self._counted = 0
