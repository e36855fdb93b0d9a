"""Performs exchanges: finds a key, seals, sends, waits for the response's head."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.engine import require_engine
from blindrelay.client.errors import BlindRelayError, BridgeError, KeyTrustError, RelayError
from blindrelay.client.exchange import SealedExchange
from blindrelay.client.httpx_compat import Request
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.client.relay_view import Observer, RelayView
from blindrelay.client.request_head import request_head, tunnel_head
from blindrelay.client.sealed_call import SealedCall, Timeouts
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.sealing import ClientExchange, SealingError, encapsulate
from blindrelay.trust import VerifiedKey
from blindrelay.v1.envelope import METADATA_KEY, encode_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import client_deadline
from blindrelay.v1.inner_pb2 import ErrorCode, ResponseHead
from blindrelay.v1.limits import DEFAULT_MAX_UNITS, EXCHANGE_ID_SIZE, MAX_BODY_PIECE, TIME_STEP, VERSION
from blindrelay.v1.outer_status import OuterStatus
from blindrelay.v1.picklable_error import PicklableError

C = TypeVar("C", bound=SealedCall)
T = TypeVar("T")

RESTART_SECONDS: Final = 10.0
"""For a bridge process that is restarted to be listed again. A call waits so long, and then fails."""

_LOOK_SECONDS: Final = 0.25


class Sender:
    """One connection to the relay per event loop, and the keys that all of them share."""

    def __init__(
        self,
        connection: ConnectionConfig,
        keys: KeyRing,
        clock: Callable[[], float],
        observer: Observer | None = None,
    ) -> None:
        self.connection = connection
        self.keys = keys
        self.clock = clock
        self.observer = observer
        self._relays: dict[asyncio.AbstractEventLoop, RelayConnection] = {}
        self._lock = threading.RLock()  # a signal handler may send while its thread is in here

    async def perform(
        self, request: Request, body: bytes | AsyncIterable[bytes]
    ) -> tuple[SealedExchange, ResponseHead]:
        """Sends the request and waits for the response's head. Raises BlindRelayError."""
        if isinstance(body, bytes):
            return await _attempted(lambda: self._attempt(request, _once(body)), times=2)
        return await _attempted(lambda: self._attempt(request, body), times=1)

    async def open_tunnel(self, request: Request) -> tuple[SealedTunnel, ResponseHead]:
        """Dials and waits for the response's head: 101, or an ordinary one. Raises BlindRelayError."""
        return await _attempted(lambda: self._dial(request), times=2)

    async def close(self) -> None:
        """Ends what runs in this event loop."""
        with self._lock:
            relay = self._relays.pop(asyncio.get_running_loop(), None)
        if relay is not None:
            await relay.close()

    async def close_if_idle(self) -> None:
        """Closes this event loop's connection unless it is in use; the next exchange opens another."""
        with self._lock:
            relay = self._relays.get(asyncio.get_running_loop())
        if relay is not None and await relay.is_idle():
            await self.close()

    def is_connected(self) -> bool:
        """Whether an event loop has a connection. Those of loops that have ended are dropped."""
        with self._lock:
            self._relays = {loop: relay for loop, relay in self._relays.items() if not loop.is_closed()}
            return bool(self._relays)

    async def _attempt(
        self, request: Request, pieces: AsyncIterable[bytes]
    ) -> tuple[SealedExchange, ResponseHead]:
        head = request_head(request, self.connection)
        exchange = await self._begin(request, SealedExchange)
        async with self._closed_on_failure(exchange, request):
            exchange.begin(head)
            async for piece in pieces:
                if not await _send(exchange, piece):
                    return exchange, await exchange.head()
            return exchange, await exchange.finish()

    async def _dial(self, request: Request) -> tuple[SealedTunnel, ResponseHead]:
        head = tunnel_head(request, self.connection)
        tunnel = await self._begin(request, SealedTunnel)
        async with self._closed_on_failure(tunnel, request):
            return tunnel, await tunnel.dial(head)

    @asynccontextmanager
    async def _closed_on_failure(self, call: SealedCall, request: Request) -> AsyncIterator[None]:
        """Raises _KeyGoneError in the two cases for a second attempt (spec/protocol.md, section 12)."""
        try:
            yield
        except RelayError as error:
            await call.aclose()
            if error.status is not OuterStatus.KEY_UNKNOWN:
                raise
            if await self._found(lambda: self.keys.is_superseded(call.key), request):
                raise _KeyGoneError(error) from None
            raise
        except BridgeError as error:
            await call.aclose()
            if not (error.code == ErrorCode.ERROR_CODE_DRAINING and error.not_started):
                raise
            self.keys.leave(call.key)
            if await self._found(lambda: self.keys.draw(self._issued_at()) is not None, request):
                raise _KeyGoneError(error) from None
            raise
        except BaseException:
            await call.aclose()
            raise

    async def _begin(self, request: Request, kind: type[C]) -> C:
        relay, timeouts = self._relay(), Timeouts.of(request.extensions, self.connection)
        await relay.enter(timeouts.connect, timeouts.pool)
        try:
            issued_at = self._issued_at()
            key = await self._key(relay, issued_at, timeouts.connect)
            envelope = self._envelope(key, issued_at)
            sealed = _sealed_to(key, envelope)
            deadline = client_deadline(self.connection.deadline_class)
            begin = partial(relay.exchange, (METADATA_KEY, envelope), deadline)
            view = self._observed(envelope)
            return kind(relay, begin, key, sealed, timeouts, relay.leave, view)
        except BaseException:
            relay.leave()
            raise

    def _envelope(self, key: VerifiedKey, issued_at: int) -> bytes:
        return encode_envelope(
            Envelope(
                version=VERSION,
                exchange_id=os.urandom(EXCHANGE_ID_SIZE),
                identity=key.identity,
                key_id=key.key_id,
                issued_at=issued_at,
                max_units=DEFAULT_MAX_UNITS,
            )
        )

    def _observed(self, envelope: bytes) -> RelayView | None:
        if self.observer is None:
            return None
        view = RelayView(Envelope.FromString(envelope), len(envelope))
        self.observer(view)
        return view

    async def _key(self, relay: RelayConnection, issued_at: int, timeout: float | None) -> VerifiedKey:
        key = self.keys.draw(issued_at)
        if key is None:
            await relay.renew(self.keys, timeout)
            key = self.keys.draw(issued_at)
        if key is None:
            raise KeyTrustError("the bridge announces no key for this time, so nothing was sent")
        return key

    async def _found(self, another_key: Callable[[], bool], request: Request) -> bool:
        """Whether another key is to be had, now or as soon as a bridge that restarts is back."""
        timeout = Timeouts.of(request.extensions, self.connection).connect
        with suppress(TimeoutError, BlindRelayError):
            async with asyncio.timeout(RESTART_SECONDS):
                while not another_key():
                    with suppress(RelayError):
                        await self._relay().renew(self.keys, timeout)
                        if another_key():
                            break
                    await asyncio.sleep(_LOOK_SECONDS)
                return True
        return False

    def _issued_at(self) -> int:
        return int(self.clock()) // TIME_STEP * TIME_STEP

    def _relay(self) -> RelayConnection:
        """This event loop's connection to the relay; those of loops that have ended are dropped."""
        require_engine()
        loop = asyncio.get_running_loop()
        with self._lock:
            self.is_connected()
            if loop not in self._relays:
                self._relays[loop] = RelayConnection(self.connection)
            return self._relays[loop]


class _KeyGoneError(PicklableError):
    """The process that held the key of an exchange is gone or going, and there is another."""

    def __init__(self, error: BlindRelayError) -> None:
        self.error = error


async def _attempted(attempt: Callable[[], Awaitable[T]], *, times: int) -> T:
    """Again where the bridge is restarted and another key is known: the only case for a second attempt."""
    for _ in range(times - 1):
        try:
            return await attempt()
        except _KeyGoneError:
            pass
    try:
        return await attempt()
    except _KeyGoneError as gone:
        raise gone.error from None


def _sealed_to(key: VerifiedKey, envelope: bytes) -> ClientExchange:
    try:
        return encapsulate(envelope, key.config)
    except SealingError as error:
        raise KeyTrustError(f"the bridge announces a key that cannot be sealed to: {error}") from None


async def _send(exchange: SealedExchange, data: bytes) -> bool:
    """Sends a piece of any size, in pieces that the exchange can seal without holding all of it."""
    view = memoryview(data)
    for start in range(0, len(view), MAX_BODY_PIECE):
        if not await exchange.send(view[start : start + MAX_BODY_PIECE]):
            return False
    return True


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
