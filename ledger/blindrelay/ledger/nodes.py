"""The relay processes that report now, and what each must be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final, TypeVar

from blindrelay.ledger.async_books import AsyncBooks
from blindrelay.ledger.books import RELEASE_SECONDS, SILENT_SECONDS, Allowance, Books, Limit
from blindrelay.v1.ledger_pb2 import Allowance as AllowanceMessage
from blindrelay.v1.ledger_pb2 import Limit as LimitMessage
from blindrelay.v1.ledger_pb2 import ReportResponse

T = TypeVar("T")

HEARTBEAT_SECONDS: Final = 3.0
"""The most seconds between two messages to a node. Ten seconds after the last one, it starts nothing."""

MAX_ITEMS: Final = 1_000
"""Allowances of one message, and revoked leases: about 80 KiB, where a message may have 128."""


class Node:
    """One relay process with a stream. `monotonic` returns seconds that only grow.

    What the process has not been told yet takes no more room than its accounts.
    """

    def __init__(self, monotonic: Callable[[], float], may_speak: Callable[[], bool] = lambda: True) -> None:
        self._monotonic = monotonic
        self._may_speak = may_speak
        self._told = asyncio.Event()
        self._acknowledged = 0
        self._allowances: dict[str, Allowance] = {}
        self._revoked: dict[str, str] = {}
        self._keys: tuple[bytes, ...] = ()
        self.replaced = False
        """Whether the same process has another stream."""

    def tell(
        self,
        *,
        acknowledged: int = 0,
        allowances: Iterable[Allowance] = (),
        revoked: Iterable[str] = (),
        keys: tuple[bytes, ...] = (),
    ) -> None:
        """Adds to what the next message says."""
        self._acknowledged = max(self._acknowledged, acknowledged)
        self._allowances.update((each.account, each) for each in allowances)
        self._revoked.update((lease, lease) for lease in revoked)
        self._keys = keys or self._keys
        self._told.set()

    def end(self) -> None:
        """Ends the stream, because the same process has another."""
        self.replaced = True
        self._told.set()

    async def next_message(self) -> ReportResponse:
        """Waits until there is something to say, or for HEARTBEAT_SECONDS.

        It says nothing for as long as `may_speak` is false, so that the process starts nothing.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._told.wait()
            if self._told.is_set() or self._may_speak():
                return self._message()

    def _message(self) -> ReportResponse:
        message = ReportResponse(
            acknowledged=self._acknowledged,
            allowances=[allowance_message(each) for each in _taken(self._allowances)],
            lease_keys=self._keys,
            revoked_leases=_taken(self._revoked),
            sent_at=int(1_000 * self._monotonic()),
        )
        self._keys = ()
        if not self._allowances and not self._revoked and not self.replaced:
            self._told.clear()
        return message


class Nodes:
    """All relay processes that report here. `clock` returns Unix seconds, `monotonic` seconds that only grow.

    `shared` says that other ledgers may have the same books. Then a node that these have not heard for
    RELEASE_SECONDS is lost for all of them. So a ledger that cannot reach the books stops to speak.
    """

    def __init__(
        self,
        books: AsyncBooks,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        shared: bool = False,
    ) -> None:
        self._books = books
        self._clock = clock
        self._monotonic = monotonic
        self._shared = shared
        self._nodes: dict[bytes, Node] = {}
        self._silent: frozenset[bytes] = frozenset()
        self._started_at = self._noted_at = monotonic()

    def __len__(self) -> int:
        return len(self._nodes)

    def join(self, name: bytes) -> Node:
        """A stream of this process has begun. An earlier one ends."""
        if (earlier := self._nodes.get(name)) is not None:
            earlier.end()
        node = self._nodes[name] = Node(self._monotonic, self._may_speak)
        return node

    def leave(self, name: bytes, node: Node) -> None:
        """The stream has ended."""
        if self._nodes.get(name) is node:
            del self._nodes[name]

    async def refresh(self, accounts: Collection[str], among: Collection[bytes] | None = None) -> None:
        """Tells the nodes, or those `among` them, what these accounts may start now."""
        if not accounts:
            return
        for name, node in list(self._nodes.items()):
            if among is None or name in among:
                allowances = await self._books.do(Books.allowances, name, self.now, accounts)
                node.tell(allowances=allowances)

    def tell_all(self, *, revoked: Iterable[str] = (), keys: tuple[bytes, ...] = ()) -> None:
        """Tells every node of revoked leases or new keys."""
        revoked = tuple(revoked)
        for node in self._nodes.values():
            node.tell(revoked=revoked, keys=keys)

    async def refresh_all(self) -> None:
        """Tells the nodes of all their accounts: other ledgers may have changed them."""
        for name, node in list(self._nodes.items()):
            node.tell(allowances=await self._books.do(Books.allowances, name, self.now))

    async def hear(self, name: bytes) -> None:
        """Notes a call of a process, which may not have a stream yet."""
        if name not in self._nodes:
            await self._books.do(Books.hear, (name,), self.now)

    async def release_lost(self) -> None:
        """Notes which nodes have a stream here, and gives others the allowances of those that are lost."""
        await self._books.do(Books.hear, tuple(self._nodes), self.now)
        self._noted_at = self._monotonic()
        await self._tell_of_silence(
            frozenset(await self._books.do(Books.lost_nodes, self.now - SILENT_SECONDS))
        )
        if self._noted_at - self._started_at < RELEASE_SECONDS:
            return  # while this ledger was away, no ledger got messages from its nodes
        for name in await self._books.do(Books.lost_nodes, self.now - RELEASE_SECONDS):
            if name not in self._nodes:
                await self.refresh(await self._books.do(Books.release_node, name))

    async def _tell_of_silence(self, silent: frozenset[bytes]) -> None:
        """Tells the other nodes of a silent one how long they wait for its allowances."""
        fallen, self._silent = silent - self._silent, silent
        if fallen:
            await self.refresh_all()

    def _may_speak(self) -> bool:
        """Whether no other ledger can have given away what our nodes may start."""
        return not self._shared or self._monotonic() - self._noted_at < HEARTBEAT_SECONDS

    @property
    def now(self) -> int:
        """Unix seconds."""
        return int(self._clock())


def _taken(waiting: dict[str, T]) -> list[T]:
    """Removes the oldest MAX_ITEMS values and returns them."""
    return [waiting.pop(name) for name in list(waiting)[:MAX_ITEMS]]


def allowance_message(allowance: Allowance) -> AllowanceMessage:
    """An allowance as it travels."""
    return AllowanceMessage(
        account=allowance.account,
        sequence=allowance.sequence,
        exchanges=allowance.exchanges,
        limit=None if allowance.limit is None else limit_message(allowance.limit),
    )


def limit_message(limit: Limit) -> LimitMessage:
    """A limit as it travels."""
    return LimitMessage(status=limit.status, retry_after_seconds=limit.retry_after_seconds)
