"""The connection from one event loop to the relay: a gRPC channel and room for exchanges on it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final

import grpc

from blindrelay.client.channel import RelayChannel
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.encapsulation_ahead import EncapsulationAhead
from blindrelay.client.engine import LAST_NEWS_SECONDS
from blindrelay.client.errors import BlindRelayError, ClosedError, TimedOutError, UnreachableError
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.lease import Lease
from blindrelay.client.lingering import linger
from blindrelay.client.own_thread import in_own_thread
from blindrelay.client.relay_errors import relay_error
from blindrelay.v1.channel import ExchangeCall, Metadata
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryResponse
from blindrelay.v1.http_proxy import HttpProxy

MAX_EXCHANGES: Final = 64
"""Exchanges at once on one channel. More wait until the pool timeout. A relay allows 100 streams. Close to
that number, HTTP/2 refuses a new stream until it has seen the end of an old one."""

MAX_TRAILING: Final = 60
"""Shaped responses on one channel whose rest is read. With the exchanges they are fewer than 100 streams."""

_CLOSING_SECONDS: Final = 0.25
"""Seconds for streams with a complete response to end. Cut before, they would look like aborts."""

_DIRECTORY_SECONDS: Final = 10
"""The relay serves directories from memory, but may wait for a bridge that is starting."""

_WATCHES_END_SECONDS: Final = 10
"""Seconds for gRPC to end the watches of a closed channel. It takes milliseconds on an idle machine."""

_REASON_SECONDS: Final = 1
"""Seconds for gRPC to tell why a connection failed. It needs no network for that."""

_NEXT_ATTEMPT_SECONDS: Final = 1.5
"""The time to the next attempt to connect, at most the channel's largest back-off of 1.2 s."""


class RelayConnection:
    """A channel that belongs to the event loop it was made in.

    Attributes:
        ahead: what the next exchange may be sealed with.
    """

    def __init__(self, config: ConnectionConfig, ahead: EncapsulationAhead | None = None) -> None:
        """Without `ahead` it carries no exchanges."""
        self.ahead = ahead
        self.lease = Lease(config.token)
        self._target = config.target
        self._proxy = config.proxy
        # gRPC does not tell why a connection fails, so an error names the usual reasons.
        tls = "with a certificate that the client trusts (ca=FILE)" if config.tls else "or does it want TLS"
        self._hint = f"is it running, {tls}?"
        if config.proxy is not None:
            self._hint += f" Is the proxy {config.proxy.address} running?"
        self._config = config
        self._channel = RelayChannel(config)
        self._room = asyncio.Semaphore(MAX_EXCHANGES)
        self._users = 0
        self._closed = False
        self._renewal: asyncio.Task[None] | None = None
        self._watches: dict[tuple[grpc.aio.Channel, grpc.ChannelConnectivity], asyncio.Task[None]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._trailing: dict[asyncio.Task[None], None] = {}
        self._calls: weakref.WeakSet[ExchangeCall] = weakref.WeakSet()

    async def enter(self, connect: float | None, pool: float | None) -> None:
        """Waits until the relay can be reached, and then for room. leave() gives the room back.

        Raises what connect() raises, and TimedOutError if there is no room within `pool` seconds.
        """
        self._users += 1
        try:
            await self.connect(connect)
            if self._room.locked():
                async with asyncio.timeout(pool):
                    await self._room.acquire()
            else:
                await self._room.acquire()
        except TimeoutError:
            self._users -= 1
            raise TimedOutError("pool", pool or 0) from None
        except BaseException:
            self._users -= 1
            raise

    def leave(self) -> None:
        """Gives the room back."""
        self._room.release()
        self._users -= 1
        if self.ahead is not None and not self._users and not self._closed:
            self.ahead.make_soon()

    async def is_idle(self) -> bool:
        """Whether the connection is unused. Exchanges that are about to end get a moment for it."""
        if self._background:
            await asyncio.wait(self._background, timeout=_CLOSING_SECONDS)
        return not self._users and not self._background

    async def connect(self, timeout: float | None) -> None:
        """Waits until the relay can be reached.

        Raises UnreachableError if the attempt fails, or if the last one failed and the next one does not
        succeed; and TimedOutError after `timeout` seconds.
        """
        self._require_open()
        if self._channel.is_doubtful:
            self._replace_channel()
        self._channel.use()
        try:
            if self._channel.grpc.get_state() is grpc.ChannelConnectivity.READY:
                return
            async with asyncio.timeout(timeout):
                await self._connect()
        except grpc.aio.UsageError:
            raise ClosedError from None
        except TimeoutError:
            raise TimedOutError("connect", timeout or 0, f" at {self._target}: {self._hint}") from None

    def _replace_channel(self) -> None:
        """Gives new calls a new channel. Running calls keep the old one until they end or its pings fail."""
        self.in_background(self._channel.close_when_idle())
        self._channel = RelayChannel(self._config)
        self.lease.drop()

    async def _connect(self) -> None:
        channel = self._channel.grpc
        state = channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            # The state stays the same between attempts, until one succeeds.
            with suppress(TimeoutError):
                async with asyncio.timeout(_NEXT_ATTEMPT_SECONDS):
                    state = await self._next_state(channel, state)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise await self._unreachable()
            state = await self._next_state(channel, state)

    async def _next_state(
        self, channel: grpc.aio.Channel, state: grpc.ChannelConnectivity
    ) -> grpc.ChannelConnectivity:
        """Waits until the channel's state is no longer this one. Returns the new one.

        If the wait is given up, gRPC goes on watching until the state changes or the channel is closed. So
        all that wait for one change share a watch.
        """
        watch = self._watches.get((channel, state))
        if watch is None:
            watch = asyncio.create_task(self._watch(channel, state))
            watch.add_done_callback(_retrieve)
            self._watches[channel, state] = watch
        await asyncio.shield(watch)
        return channel.get_state(try_to_connect=True)

    async def _watch(self, channel: grpc.aio.Channel, state: grpc.ChannelConnectivity) -> None:
        try:
            await channel.wait_for_state_change(state)
        finally:
            del self._watches[channel, state]

    async def _unreachable(self) -> UnreachableError:
        reason = self._hint if self._proxy is None else await self._refusal(self._proxy) or self._hint
        return UnreachableError(f"no connection to the relay at {self._target}: {reason}")

    async def _refusal(self, proxy: HttpProxy) -> str | None:
        """Why the proxy refused. A call on a channel that has failed tells the reason."""
        try:
            await self._channel.directories((), _REASON_SECONDS)
        except grpc.aio.AioRpcError as error:
            return proxy.refusal(error.details() or "")
        return None

    def exchange(self, envelope: Metadata, deadline: float, only_message: bytes | None) -> ExchangeCall:
        """Begins one exchange of at most `deadline` seconds (see ExchangeChannel)."""
        self._require_open()
        call = self._channel.exchange((*self.lease.shown, *envelope), deadline, only_message)
        self._calls.add(call)
        return call

    @property
    def grpc(self) -> grpc.aio.Channel:
        """The channel, for calls that are not exchanges."""
        self._require_open()
        return self._channel.grpc

    async def directories(self) -> bytes:
        """The relay's GetKeyDirectoryResponse, unverified bytes. Raises RelayError."""
        self._require_open()
        try:
            return await self._channel.directories(self.lease.token, _DIRECTORY_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise relay_error(error.code(), error.details(), error.trailing_metadata()) from None

    async def renew(self, keys: KeyRing, timeout: float | None) -> None:
        """Fetches the key directories again, once for all that wait for it, and verifies them.

        Raises KeyTrustError, RelayError, ConfigurationError for a damaged history, and TimedOutError after
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
        generation, channel = keys.generation, self._channel
        encoded = await self.directories()
        # Signatures and the history file take milliseconds or more, too long for the event loop.
        await in_own_thread(partial(keys.take, encoded, generation))
        if channel is self._channel:
            self.lease.take(GetKeyDirectoryResponse.FromString(encoded))

    def renew_lease_in_time(self, keys: KeyRing) -> None:
        """Renews the lease in the background when half of its time is over. A failure may be tried again."""
        if self.lease.is_to_be_renewed():
            self.in_background(self._renewed(keys))

    async def _renewed(self, keys: KeyRing) -> None:
        with suppress(BlindRelayError):
            await self.renew(keys, None)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something until it ends or the connection is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def trail(self, call: ExchangeCall, rest: Coroutine[Any, Any, None]) -> None:
        """Reads the rest of a shaped response, also after close(). Of too many the oldest is dropped."""
        self._calls.discard(call)
        if len(self._trailing) >= MAX_TRAILING:
            next(iter(self._trailing)).cancel()
        task = linger(rest)
        self._trailing[task] = None
        task.add_done_callback(self._trailing.pop)

    async def close(self, *, at_once: bool = False) -> None:
        """Ends every exchange and the channel. Unless `at_once`, the rest of shaped responses is read first.

        That goes on in the background.
        """
        if self._background:
            await asyncio.wait(self._background, timeout=_CLOSING_SECONDS)
        for task in self._background:
            task.cancel()
        self._closed = True
        if self.ahead is not None:
            self.ahead.drop()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._trailing and not at_once:
            for call in self._calls:
                call.cancel()
            linger(self._close_after(list(self._trailing)))
        else:
            await self._close_channel(list(self._trailing))

    async def _close_after(self, trailing: list[asyncio.Task[None]]) -> None:
        try:
            await asyncio.wait(trailing)
        finally:  # an event loop that ends cancels this, and the tasks as well
            await self._close_channel(trailing)

    async def _close_channel(self, trailing: list[asyncio.Task[None]]) -> None:
        for task in trailing:
            task.cancel()
        await asyncio.gather(self._channel.grpc.close(), *trailing, return_exceptions=True)
        if self._watches:
            await asyncio.wait(self._watches.values(), timeout=_WATCHES_END_SECONDS)
        if trailing:
            await asyncio.sleep(LAST_NEWS_SECONDS)
        # gRPC's engine runs as long as a channel is referred to, and responses refer to this object.
        del self._channel

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError


def _retrieve(task: asyncio.Task[None]) -> None:
    """Keeps asyncio from reporting a failure whose waiters have timed out."""
    if not task.cancelled():
        task.exception()
