"""Performs exchanges: finds a key, opens a sealed stream to it, and seals again where that is safe."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from blindrelay.client.bill import Bill
from blindrelay.client.bill_journal import BillJournal
from blindrelay.client.connection_config import ConnectionConfig
from blindrelay.client.encapsulation_ahead import Encapsulated, EncapsulationAhead, step
from blindrelay.client.engine import require_engine
from blindrelay.client.errors import BlindRelayError, BridgeError, KeyTrustError, RelayError
from blindrelay.client.exchange import exchange
from blindrelay.client.httpx_compat import Request
from blindrelay.client.key_ring import KeyRing
from blindrelay.client.relay_call import RelayCall
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.client.relay_view import Observer, RelayView
from blindrelay.client.request_head import request_head, tunnel_head
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.client.store_false import salt_for_head
from blindrelay.client.timeouts import Timeouts
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.trust import VerifiedKey
from blindrelay.v1.envelope import envelope_metadata
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import client_deadline
from blindrelay.v1.inner_pb2 import ErrorCode, RequestHead, ResponseHead
from blindrelay.v1.outer_status import OuterStatus

T = TypeVar("T")

RESTART_SECONDS: Final = 10.0
"""How long a call waits for a restarted bridge to be listed again before it fails."""

_POLL_SECONDS: Final = 0.25

_BRIDGE_IS_AWAY: Final = frozenset({None, OuterStatus.BRIDGE_UNAVAILABLE, OuterStatus.DRAINING})
"""Why a relay may have no directories while a bridge, or the relay itself, starts again."""


class Sender:
    """One connection to the relay per event loop, and the keys that all of them share."""

    def __init__(
        self,
        config: ConnectionConfig,
        keys: KeyRing,
        clock: Callable[[], float],
        observer: Observer | None = None,
        journal: BillJournal | None = None,
    ) -> None:
        self.config = config
        self.keys = keys
        self.clock = clock
        self.observer = observer
        self.journal = journal
        self._relays: dict[asyncio.AbstractEventLoop, RelayConnection] = {}
        self._lock = threading.RLock()  # a signal handler may run in a thread that holds it

    async def perform(
        self, request: Request, body: bytes | AsyncIterable[bytes]
    ) -> tuple[SealedStream, ResponseHead]:
        """Sends the request and waits for the response's head. Raises BlindRelayError.

        A body in memory may be sealed a second time (see _attempts()).
        """
        salt = salt_for_head(request, self.config, body)
        head = request_head(request, self.config, salt)
        times = 2 if isinstance(body, bytes) else 1
        return await self._attempts(
            request, lambda stream: exchange(stream, _priced(head, stream.key), body), times
        )

    async def open_tunnel(self, request: Request) -> tuple[SealedTunnel, ResponseHead]:
        """Opens a tunnel and waits for the response's head, of any status. Raises BlindRelayError."""
        head = tunnel_head(request, self.config)

        async def dial(stream: SealedStream) -> tuple[SealedTunnel, ResponseHead]:
            tunnel = SealedTunnel(stream)
            return tunnel, await tunnel.dial(_priced(head, stream.key))

        _, dialled = await self._attempts(request, dial, times=2)
        return dialled

    async def close(self, *, at_once: bool = False) -> None:
        """Ends everything that runs in this event loop (see RelayConnection.close)."""
        with self._lock:
            relay = self._relays.pop(asyncio.get_running_loop(), None)
        if relay is not None:
            await relay.close(at_once=at_once)

    async def close_if_idle(self) -> None:
        """Closes this event loop's connection unless it is in use. The next exchange opens a new one."""
        with self._lock:
            relay = self._relays.get(asyncio.get_running_loop())
        if relay is not None and await relay.is_idle():
            await self.close(at_once=True)

    def is_connected(self) -> bool:
        """Whether any event loop has a connection. Drops those of loops that have ended."""
        with self._lock:
            self._relays = {loop: relay for loop, relay in self._relays.items() if not loop.is_closed()}
            return bool(self._relays)

    async def _attempts(
        self, request: Request, work: Callable[[SealedStream], Awaitable[T]], times: int
    ) -> tuple[SealedStream, T]:
        """Opens a stream and does the work on it; again on another stream if _has_another_key()."""
        stream = await self._open(request)
        try:
            return stream, await work(stream)
        except (RelayError, BridgeError) as error:
            await stream.aclose()
            if not await self._has_another_key(error, stream.key, request) or times == 1:
                raise
        except BaseException:
            await stream.aclose()
            raise
        return await self._attempts(request, work, times - 1)

    async def _has_another_key(
        self, error: RelayError | BridgeError, key: VerifiedKey, request: Request
    ) -> bool:
        """Whether the bridge did not process the request, and announces another key or price table for it
        (spec section 12).

        This is the only case in which a request is sealed again. It may wait for the bridge to come back.
        """
        match error:
            case RelayError(status=OuterStatus.KEY_UNKNOWN):
                return await self._found(lambda: self.keys.is_superseded(key), request)
            case BridgeError(code=ErrorCode.ERROR_CODE_DRAINING, not_started=True):
                self.keys.leave(key)
                return await self._found(lambda: self.keys.draw(step(self.clock())) is not None, request)
            case BridgeError(code=ErrorCode.ERROR_CODE_PRICE_CHANGED, not_started=True):
                return await self._found(lambda: self._has_other_prices(key), request)
        return False

    def _has_other_prices(self, key: VerifiedKey) -> bool:
        other = self.keys.draw(step(self.clock()))
        return other is not None and other.price_table_hash != key.price_table_hash

    async def _open(self, request: Request) -> SealedStream:
        """A stream to a replica of the bridge. Its gRPC call begins when something is written to it."""
        relay, timeouts = self._relay(), Timeouts.of(request.extensions, self.config)
        await relay.enter(timeouts.connect, timeouts.pool)
        try:
            made = await self._encapsulated(relay, timeouts.connect)
            deadline = client_deadline(self.config.deadline_class)
            begin = partial(relay.exchange, envelope_metadata(made.envelope, made.key.key_id), deadline)
            renew = partial(relay.renew, self.keys, timeouts.connect)
            call = RelayCall(begin, relay.lease, renew, self._observed(made.envelope))
            return SealedStream(relay, call, made.key, made.sealed, timeouts, self._bill(made))
        except BaseException:
            relay.leave()
            raise

    def _bill(self, made: Encapsulated) -> Bill:
        """It is kept if the bridge charges."""
        key = made.key
        if not key.price_table_hash:
            return Bill(made.envelope)
        delegation = self.keys.delegation_of(key)
        return Bill(made.envelope, key.price_table_hash, self.journal, delegation, made.sealed.rounding_coin)

    def _observed(self, envelope: bytes) -> RelayView | None:
        if self.observer is None:
            return None
        view = RelayView(Envelope.FromString(envelope), len(envelope))
        self.observer(view)
        return view

    async def _encapsulated(self, relay: RelayConnection, timeout: float | None) -> Encapsulated:
        """One that was made ahead, or a new one."""
        issued_at = step(self.clock())
        key = await self._key(relay, issued_at, timeout)
        ahead = None if relay.ahead is None else relay.ahead.take(issued_at)
        return ahead or Encapsulated.to(key, issued_at, self.config.max_units)

    async def _key(self, relay: RelayConnection, issued_at: int, timeout: float | None) -> VerifiedKey:
        key = self.keys.draw(issued_at)
        relay.renew_lease_in_time(self.keys)
        if key is None or (self.keys.leases and not relay.lease.is_valid):
            await relay.renew(self.keys, timeout)
            key = self.keys.draw(issued_at)
        if key is None:
            raise KeyTrustError("the bridge announces no key for the present time: nothing was sent")
        return key

    async def _found(self, another_key: Callable[[], bool], request: Request) -> bool:
        """Whether there is another key, now or within RESTART_SECONDS. It waits only for a bridge."""
        timeout = Timeouts.of(request.extensions, self.config).connect
        with suppress(TimeoutError, BlindRelayError):
            async with asyncio.timeout(RESTART_SECONDS):
                while not another_key():
                    try:
                        await self._relay().renew(self.keys, timeout)
                    except RelayError as error:
                        if error.status not in _BRIDGE_IS_AWAY:
                            return False
                    if another_key():
                        break
                    await asyncio.sleep(_POLL_SECONDS)
                return True
        return False

    def _relay(self) -> RelayConnection:
        """This event loop's connection to the relay."""
        require_engine()
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._relays:
                self.is_connected()  # drops those of loops that have ended
                ahead = EncapsulationAhead(self.keys, self.config.max_units, self.clock)
                self._relays[loop] = RelayConnection(self.config, ahead)
            return self._relays[loop]


def _priced(head: RequestHead, key: VerifiedKey) -> RequestHead:
    """The head, which names the price table of the replica that has the key."""
    head.price_table_hash = key.price_table_hash
    return head
