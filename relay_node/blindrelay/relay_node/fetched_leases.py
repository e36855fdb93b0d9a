"""The lease that each token has fetched last at this process.

Many clients may share a token, and each may fetch as often as it likes. A call to the ledger is a transaction
there. So those that fetch at the same time share one call, and for a second afterwards they get the same
lease. They get it as well if the ledger cannot be used: clients need directories when a bridge has new keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from blindrelay.serving import CallRefusedError
from blindrelay.serving.leases import Lease
from blindrelay.v1.outer_status import OuterStatus

SAME_SECONDS: Final = 1.0
"""Seconds in which a token gets the same lease again."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A lease from the ledger.

    Attributes:
        text: as clients show it.
        at: when it was fetched, in seconds of a monotonic clock.
        seconds: how long it was valid then.
    """

    lease: Lease
    text: str
    at: float
    seconds: int


class FetchedLeases:
    """Fetches leases. `clock` is the monotonic one of Fetched.

    Args:
        ask: fetches one for the token with this SHA-256. Raises CallRefusedError.
        is_valid: whether a lease can be given again.
    """

    def __init__(
        self,
        ask: Callable[[bytes], Awaitable[Fetched]],
        is_valid: Callable[[Fetched], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._is_valid = is_valid
        self._clock = clock
        self._newest: dict[bytes, Fetched] = {}
        self._calls: dict[bytes, asyncio.Task[Fetched]] = {}

    async def of(self, digest: bytes) -> Fetched:
        """A lease for the holder of the token with this SHA-256. Raises what `ask` raises."""
        call = self._calls.get(digest)
        if call is None:
            newest = self._known(digest)
            if newest is not None and self._clock() < newest.at + SAME_SECONDS:
                return newest
            call = self._calls[digest] = asyncio.create_task(self._fetch(digest))
            call.add_done_callback(lambda done: self._end(digest, done))
        return await asyncio.shield(call)

    def forget_old(self) -> None:
        """Forgets the leases that are no longer valid."""
        self._newest = {digest: each for digest, each in self._newest.items() if self._is_valid(each)}

    async def _fetch(self, digest: bytes) -> Fetched:
        try:
            fetched = self._newest[digest] = await self._ask(digest)
        except CallRefusedError as refusal:
            if refusal.status is not OuterStatus.LEDGER_UNAVAILABLE:
                self._newest.pop(digest, None)
            newest = self._known(digest)
            if newest is None:
                raise
            return newest
        return fetched

    def _known(self, digest: bytes) -> Fetched | None:
        newest = self._newest.get(digest)
        return newest if newest is not None and self._is_valid(newest) else None

    def _end(self, digest: bytes, call: asyncio.Task[Fetched]) -> None:
        del self._calls[digest]
        if not call.cancelled():
            call.exception()  # all that waited for it may be gone
