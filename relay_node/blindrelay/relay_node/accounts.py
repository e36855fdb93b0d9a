"""What each account may do at this process: its rate, its concurrency, and how many exchanges may start.

The ledger gives an account an allowance here. Each start takes one of it, and the ledger gives new ones as
exchanges are settled. So no exchange waits for a call to the ledger.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from blindrelay.relay_node.ledger import ledger_unavailable
from blindrelay.serving import CallRefusedError
from blindrelay.serving.leases import Lease
from blindrelay.v1.ledger_pb2 import Allowance, Limit
from blindrelay.v1.outer_status import OuterStatus

ALLOWANCE_SECONDS: Final = 2.0
"""How long a start waits for an allowance. The ledger gives a new one soon after an exchange is settled."""

CONCURRENT_RETRY_SECONDS: Final = 1
"""Seconds that a refused client should wait. It is unknown when one of the account's exchanges ends."""

MANY_LEFT: Final = 500
"""With more exchanges allowed, an account is not at its limit, however many it may run at once."""

_LIMITS: Final = {
    status.details: status
    for status in (
        *(OuterStatus.LIMIT_UNITS, OuterStatus.LIMIT_EXCHANGES, OuterStatus.LIMIT_BYTES),
        *(OuterStatus.LIMIT_CONCURRENT, OuterStatus.LIMIT_RATE),
        *(OuterStatus.NOT_IN_SCOPE, OuterStatus.UNAUTHENTICATED),
    )
}


def refusal_for(limit: Limit) -> CallRefusedError:
    """The refusal that a ledger's limit asks for: OVERLOADED if it is unknown, LEDGER_UNAVAILABLE if there is
    none, because the ledger has said nothing about the account.
    """
    if not limit.status:
        return ledger_unavailable()
    status = _LIMITS.get(limit.status, OuterStatus.OVERLOADED)
    return CallRefusedError(status, limit.retry_after_seconds)


class Account:
    """One account. `clock` is a monotonic one, in seconds."""

    def __init__(self, lease: Lease, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._newest = lease
        self._running = 0
        self._due = -math.inf
        self._allowance = Allowance()
        self._told_at = -math.inf
        self._starts: deque[int] = deque()
        self._changed = asyncio.Event()

    def use(self, lease: Lease) -> None:
        """Notes a lease that has been shown. The limits are those of the newest."""
        if lease.issued_at > self._newest.issued_at:
            self._newest = lease

    def is_forgettable(self, now: float) -> bool:
        """Whether its next lease would bring all that is known of it. `now` is Unix seconds."""
        idle = not self._running and not self._starts and self._due <= self._clock()
        return idle and now >= self._newest.expires_at

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts one exchange while the block runs. Raises CallRefusedError: LIMIT_RATE, LIMIT_CONCURRENT.

        An exchange that is refused does not count for the rate.
        """
        now = self._clock()
        due = self._next_due(now)
        if self._running >= self._newest.concurrent:
            raise CallRefusedError(OuterStatus.LIMIT_CONCURRENT, CONCURRENT_RETRY_SECONDS)
        self._due = due
        self.enter()
        try:
            yield
        finally:
            self.leave()

    def enter(self) -> None:
        """Counts an exchange that Envoy forwards."""
        self._running += 1

    def leave(self) -> None:
        """Ends what enter() began."""
        self._running -= 1

    @property
    def is_at_limit(self) -> bool:
        """Whether the next exchange may have to wait or be refused."""
        concurrent = self._newest.concurrent
        return self._running >= concurrent or self._left() <= min(concurrent, MANY_LEFT)

    def _next_due(self, now: float) -> float:
        """GCRA (ITU-T I.371): when the next exchange would be due at the rate, if one comes now."""
        lease = self._newest
        if lease.rate is None:
            return -math.inf
        early = self._due - now - (lease.burst - 1) / lease.rate
        if early > 0:
            raise CallRefusedError(OuterStatus.LIMIT_RATE, math.ceil(early))
        return max(self._due, now) + 1 / lease.rate

    async def allowed(self) -> None:
        """Waits until an exchange may start, for at most ALLOWANCE_SECONDS. The caller then calls started().

        Raises CallRefusedError for the limit that keeps the ledger from allowing more.
        """
        if self._left() <= 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(ALLOWANCE_SECONDS):
                    while self._left() <= 0:
                        self._changed.clear()
                        await self._changed.wait()
        if self._left() <= 0:
            raise self._refusal()

    def _refusal(self) -> CallRefusedError:
        """The refusal for the limit that the ledger named. The time that has passed shortens its hint."""
        told = self._allowance.limit
        if told.retry_after_seconds:
            left = max(1, told.retry_after_seconds - int(self._clock() - self._told_at))
            told = Limit(status=told.status, retry_after_seconds=left)
        return refusal_for(told)

    def started(self, sequence: int) -> None:
        """Uses one exchange of the allowance, for the start line with this number."""
        self._starts.append(sequence)

    def allow(self, allowance: Allowance) -> None:
        """Notes a new allowance, unless it is older than the one that is known."""
        if allowance.sequence < self._allowance.sequence:
            return
        self._allowance = allowance
        self._told_at = self._clock()
        while self._starts and self._starts[0] <= allowance.sequence:
            self._starts.popleft()
        self._changed.set()

    def void_allowance(self) -> None:
        """Nothing may start until there is a new allowance."""
        self._allowance = Allowance(sequence=self._allowance.sequence, limit=self._allowance.limit)

    def _left(self) -> int:
        return self._allowance.exchanges - len(self._starts)


class Accounts:
    """The accounts that have called this process. `clock` is a monotonic one, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}

    def of(self, lease: Lease) -> Account:
        """The lease's account."""
        account = self._accounts.get(lease.account)
        if account is None:
            account = self._accounts[lease.account] = Account(lease, self._clock)
        account.use(lease)
        return account

    def at_limit(self) -> set[str]:
        """The accounts whose next exchange may have to wait or be refused."""
        return {name for name, account in self._accounts.items() if account.is_at_limit}

    def allow(self, allowance: Allowance) -> None:
        """Notes an allowance of an account that has a lease."""
        account = self._accounts.get(allowance.account)
        if account is not None:
            account.allow(allowance)

    def void_allowances(self) -> None:
        """Forgets all allowances: their stream has ended, and others may have them now."""
        for account in self._accounts.values():
            account.void_allowance()

    def forget_old(self, now: float) -> None:
        """Forgets the accounts that are not in use. `now` is Unix seconds."""
        for name in [name for name, account in self._accounts.items() if account.is_forgettable(now)]:
            del self._accounts[name]
