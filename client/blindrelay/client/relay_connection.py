"""The connection from one event loop to the relay: a gRPC channel, and room for exchanges on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from functools import partial
from typing import Any, Final

import grpc

from blindrelay.client.channel import RelayChannel
from blindrelay.client.connection import Connection
from blindrelay.client.errors import ClosedError, RelayError, TimedOutError, UnreachableError
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.own_thread import in_own_thread
from blindrelay.v1.channel import ExchangeCall
from blindrelay.v1.grpc_profile import authorization
from blindrelay.v1.http_proxy import HttpProxy
from blindrelay.v1.outer_status import OuterStatus

MAX_EXCHANGES: Final = 64
"""Exchanges at once on one channel; more wait for the pool timeout. Relays allow 100 streams, and close to
that HTTP/2 refuses new ones whose predecessors it has not yet seen the end of."""

_CLOSING_SECONDS: Final = 0.25
"""For streams whose response is whole to reach their end: cut before, they would look like aborts."""

_LAST_NEWS_SECONDS: Final = 0.02
"""For gRPC to say that a closed channel has changed: in a loop that has ended it would write a trace."""

_DIRECTORY_SECONDS: Final = 10
"""A directory is 3 KiB from the relay's memory; it may wait there for a bridge that is coming up."""

_REASON_SECONDS: Final = 1
"""For gRPC to say why it has failed: it knows, and sends nothing."""

_NEXT_ATTEMPT_SECONDS: Final = 1.5
"""After a failed attempt the next one comes within the channel's largest back-off, a second and a fifth."""


class RelayConnection:
    """A channel that belongs to the event loop it was made in."""

    def __init__(self, connection: Connection) -> None:
        self._metadata: tuple[tuple[str, str], ...] = ()
        if connection.token is not None:
            self._metadata = (authorization(connection.token),)
        self._target = connection.target
        self._proxy = connection.proxy
        # gRPC does not say why: the usual reasons are named.
        tls = "has it TLS, with a certificate to trust (ca=FILE)" if connection.tls else "or does it want TLS"
        self._hint = f"is it running, {tls}?"
        if connection.proxy is not None:
            self._hint += f" Is the proxy {connection.proxy.address} running?"
        self._connection = connection
        self._channel = RelayChannel(connection)
        self._retiring: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MAX_EXCHANGES)
        self._users = 0
        self._closed = False
        self._renewal: asyncio.Task[None] | None = None
        self._watches = 0
        self._background: set[asyncio.Task[None]] = set()

    async def enter(self, connect: float | None, pool: float | None) -> None:
        """Waits until the relay can be reached, and then for room; leave() gives the room back.

        Raises as connect() does, and TimedOutError if no room was given back within `pool` seconds.
        """
        self._users += 1
        try:
            await self.connect(connect)
            async with asyncio.timeout(pool):
                await self._room.acquire()
        except TimeoutError:
            self._users -= 1
            raise TimedOutError("pool", pool or 0) from None
        except BaseException:
            self._users -= 1
            raise

    def leave(self) -> None:
        """Gives back what enter() took."""
        self._room.release()
        self._users -= 1

    async def is_idle(self) -> bool:
        """Whether nobody uses the connection, once what ends by itself has had a moment to end."""
        if self._background:
            await asyncio.wait(self._background, timeout=_CLOSING_SECONDS)
        return not self._users and not self._background

    async def connect(self, timeout: float | None) -> None:
        """Waits until the relay can be reached.

        Raises UnreachableError if an attempt fails, or if none succeeds soon after one that failed before;
        TimedOutError after `timeout` seconds.
        """
        self._require_open()
        if self._channel.is_doubtful:
            self._replace_channel()
        self._channel.use()
        try:
            async with asyncio.timeout(timeout):
                await self._connect()
        except grpc.aio.UsageError:
            raise ClosedError from None
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
                raise await self._unreachable()
            await self._watched(channel.wait_for_state_change(state))
            state = channel.get_state(try_to_connect=True)

    async def _next_attempt(self, channel: grpc.aio.Channel) -> None:
        try:
            async with asyncio.timeout(_NEXT_ATTEMPT_SECONDS):
                await self._watched(channel.channel_ready())
        except TimeoutError:
            raise await self._unreachable() from None

    async def _watched(self, change: Awaitable[None]) -> None:
        """gRPC goes on watching when nobody waits any more, until the channel is closed."""
        self._watches += 1
        await change
        self._watches -= 1

    async def _unreachable(self) -> UnreachableError:
        reason = self._hint if self._proxy is None else await self._refusal(self._proxy) or self._hint
        return UnreachableError(f"no connection to the relay at {self._target}: {reason}")

    async def _refusal(self, proxy: HttpProxy) -> str | None:
        """Why the proxy did not connect us: a call on a channel that has failed fails with the reason."""
        try:
            await self._channel.directories((), _REASON_SECONDS)
        except grpc.aio.AioRpcError as error:
            return proxy.refusal(error.details() or "")
        return None

    def exchange(self, envelope: tuple[str, bytes], deadline: float, whole: bytes | None) -> ExchangeCall:
        """Begins one exchange, of at most `deadline` seconds (see ExchangeChannel)."""
        self._require_open()
        return self._channel.exchange((*self._metadata, envelope), deadline, whole)

    async def directories(self) -> bytes:
        """The relay's GetKeyDirectoryResponse, unverified bytes. Raises RelayError."""
        self._require_open()
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
        await in_own_thread(partial(keys.take, encoded, generation))

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
        self._closed = True
        await asyncio.gather(self._channel.grpc.close(), *self._retiring, return_exceptions=True)
        if self._watches:
            await asyncio.sleep(_LAST_NEWS_SECONDS)
        # gRPC's engine runs for as long as anybody refers to a channel; responses refer to this object.
        del self._channel

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError


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
