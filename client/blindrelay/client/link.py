"""The connection from one event loop to the relay: a gRPC channel, and room for exchanges on it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Coroutine
from typing import Any, Final

import grpc

from blindrelay.client.channel import RelayChannel
from blindrelay.client.connection import Connection
from blindrelay.client.errors import ForkError, RelayError, TimedOutError, UnreachableError
from blindrelay.client.key_ring import KeyRing
from blindrelay.v1.exchange_call import ExchangeCall
from blindrelay.v1.outer_status import OuterStatus

MAX_EXCHANGES: Final = 64
"""Exchanges at once on one channel; more wait for the pool timeout. Relays allow 100 streams, and close to
that HTTP/2 refuses new ones whose predecessors it has not yet seen the end of."""

_CLOSING_SECONDS: Final = 0.25
"""For streams whose answer is whole to reach their end: cut before, they would look like aborts."""

_LAST_NEWS_SECONDS: Final = 0.02
"""For gRPC to say that a closed channel has changed: in a loop that has ended it would write a trace."""

_DIRECTORY_SECONDS: Final = 10
"""A directory is 3 KiB from the relay's memory; it may wait there for a bridge that is coming up."""

_NEXT_ATTEMPT_SECONDS: Final = 1.5
"""After a failed attempt the next one comes within the channel's largest back-off, a second and a fifth."""

_engine_started_in: int | None = None


class Link:
    """A channel that belongs to the event loop it was made in."""

    def __init__(self, connection: Connection) -> None:
        _guard_against_fork()
        self._metadata: tuple[tuple[str, str], ...] = ()
        if connection.token is not None:
            self._metadata = (("authorization", f"Bearer {connection.token}"),)
        self._target = connection.target
        # gRPC does not say why: the usual reasons are named.
        tls = "has it TLS, with a certificate to trust (ca=FILE)" if connection.tls else "or does it want TLS"
        self._hint = f"is it running, {tls}?"
        self._connection = connection
        self._channel = RelayChannel(connection)
        self._retiring: set[asyncio.Task[None]] = set()
        self.room = asyncio.Semaphore(MAX_EXCHANGES)
        self._renewal: asyncio.Task[None] | None = None
        self._watches = 0
        self._background: set[asyncio.Task[None]] = set()

    async def connect(self, timeout: float | None) -> None:
        """Waits until the relay can be reached.

        Raises UnreachableError if an attempt fails, or if none succeeds soon after one that failed before;
        TimedOutError after `timeout` seconds.
        """
        if self._channel.is_doubtful:
            self._replace_channel()
        self._channel.use()
        try:
            async with asyncio.timeout(timeout):
                await self._connect()
        except TimeoutError:
            raise TimedOutError("connect", timeout or 0, f" at {self._target}: {self._hint}") from None

    def _replace_channel(self) -> None:
        """New calls get a new connection; those that run end on theirs, or when its pings fail."""
        retiring = asyncio.get_running_loop().create_task(self._channel.close_when_idle())
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        self._channel = RelayChannel(self._connection)

    async def _connect(self) -> None:
        channel = self._channel.grpc
        state = channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            # It stays so from one attempt to the next, until one succeeds.
            await self._next_attempt(channel)
            return
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise self._unreachable()
            await self._watched(channel.wait_for_state_change(state))
            state = channel.get_state(try_to_connect=True)

    async def _next_attempt(self, channel: grpc.aio.Channel) -> None:
        try:
            async with asyncio.timeout(_NEXT_ATTEMPT_SECONDS):
                await self._watched(channel.channel_ready())
        except TimeoutError:
            raise self._unreachable() from None

    async def _watched(self, change: Awaitable[None]) -> None:
        """gRPC goes on watching when nobody waits any more, until the channel is closed."""
        self._watches += 1
        await change
        self._watches -= 1

    def _unreachable(self) -> UnreachableError:
        return UnreachableError(f"no connection to the relay at {self._target}: {self._hint}")

    def exchange(self, envelope: tuple[str, bytes], deadline: float, whole: bytes | None) -> ExchangeCall:
        """Begins the call of one exchange, as ExchangeMethod does; it ends after `deadline` seconds."""
        _guard_against_fork()
        return self._channel.exchange(whole, (*self._metadata, envelope), deadline)

    async def directories(self) -> bytes:
        """The relay's GetKeyDirectoryResponse, unverified bytes. Raises RelayError."""
        try:
            return await self._channel.directories(self._metadata, _DIRECTORY_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise relay_error(error.code(), error.details()) from None

    async def renew(self, keys: KeyRing, timeout: float | None) -> None:
        """Fetches the key directories anew, once for all who wait for it, and verifies them.

        Raises KeyTrustError, RelayError, ConfigurationError for a spoilt history, or TimedOutError after
        `timeout` seconds.
        """
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._fetch(keys))
            self._renewal.add_done_callback(_retrieve)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._renewal)
        except TimeoutError:
            raise TimedOutError("directory", timeout or 0) from None

    async def _fetch(self, keys: KeyRing) -> None:
        generation = keys.generation
        encoded = await self.directories()
        # Signatures and the history's file take milliseconds, on a bad day more: not in the event loop.
        await asyncio.to_thread(keys.take, encoded, generation)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Lets something run to its end that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """Ends every exchange and the channel."""
        if self._background:
            await asyncio.wait(self._background, timeout=_CLOSING_SECONDS)
        for task in self._background | self._retiring:
            task.cancel()
        await asyncio.gather(self._channel.grpc.close(), *self._retiring, return_exceptions=True)
        if self._watches:
            await asyncio.sleep(_LAST_NEWS_SECONDS)


def _retrieve(renewal: asyncio.Task[None]) -> None:
    """A failure that nobody waits for any more is nobody's surprise."""
    if not renewal.cancelled():
        renewal.exception()


def relay_error(code: grpc.StatusCode, details: str | None) -> RelayError:
    """A gRPC status as an error; what is not on the protocol's list is a lost connection."""
    status = OuterStatus.of(code, details)
    if status is None:
        # The words of an unknown status are anybody's: only the code's name is repeated.
        return RelayError(f"the relay was lost, or is not one of this protocol ({code.name.lower()})")
    return RelayError(_SENTENCES[status], status)


_SENTENCES: Final = {
    OuterStatus.REFUSED: "the bridge refused, says the relay: replayed, altered on its way, or a wrong clock",
    OuterStatus.KEY_UNKNOWN: "the relay knows no bridge that holds the key this was sealed to",
    OuterStatus.MALFORMED: "the relay says that the exchange is malformed",
    OuterStatus.UNAUTHENTICATED: "the relay does not know this access token: ask its operator for one",
    OuterStatus.IDENTITY_UNKNOWN: "the relay serves no bridge of the pinned identity",
    OuterStatus.BRIDGE_UNAVAILABLE: "the relay could not reach the bridge, or lost it",
    OuterStatus.DRAINING: "the relay or bridge is shutting down",
    OuterStatus.OVERLOADED: "the relay has no room for the exchange now",
    OuterStatus.DEADLINE: "the relay says that the exchange's time is used up",
    OuterStatus.INTERNAL: "the relay or bridge failed",
}


def _guard_against_fork() -> None:
    global _engine_started_in  # as global as gRPC's engine
    if _engine_started_in is None:
        _engine_started_in = os.getpid()
    elif _engine_started_in != os.getpid():
        raise ForkError
