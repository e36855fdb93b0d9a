"""The gRPC call of one exchange: messages as bytes, in both directions.

If the relay does not know the lease, the call is made again under a new one, with the same bytes, once. A
relay that lies gains nothing, because the bridge runs the same bytes once (spec/protocol.md, section 12).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from blindrelay.client.errors import RelayError
from blindrelay.client.lease import Lease
from blindrelay.client.relay_errors import relay_error
from blindrelay.client.relay_view import Direction, RelayView
from blindrelay.v1.channel import ExchangeCall
from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.outer_status import OuterStatus

MAX_KEPT: Final = 16
"""Messages of a request that are kept to be sent again. A relay that refuses a lease has read no more than
gRPC buffers: one or two."""

Begin = Callable[[bytes | None], ExchangeCall]
"""Begins the gRPC call: with its only message, or with None to write messages to it."""


class RelayCall:
    """One call, which begins when something is sent. `renew_lease` raises BlindRelayError."""

    def __init__(
        self,
        begin: Begin,
        lease: Lease,
        renew_lease: Callable[[], Awaitable[None]],
        view: RelayView | None = None,
    ) -> None:
        self.grpc: Any = None
        """The gRPC call, while there is one."""
        self._messages: Any = None
        self._begin_call = begin
        self._lease = lease
        self._renew_lease = renew_lease
        self._view = view
        self._kept: list[bytes] | None = []
        self._half_closed = False
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether it has begun, and end() was not called."""
        return self.grpc is not None

    def send_only(self, message: bytes) -> None:
        """Begins the call with its only message: one gRPC batch instead of three."""
        self._keep(message)
        self._begin(message)

    async def write(self, message: bytes) -> bool:
        """Sends a message. Returns False if the call has ended: reading then tells why.

        Raises BlindRelayError if the lease cannot be renewed.
        """
        if self._ended:
            return False
        if self.grpc is None:
            self._begin(None)
        self._keep(message)
        return await self._write(message) or await self._made_again()

    async def half_close(self) -> None:
        """Ends the request, unless its only message has."""
        if self._half_closed or not self.is_open:
            return
        self._half_closed = True
        try:
            await self.grpc.done_writing()
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            return  # the call has ended: reading tells why

    async def read(self) -> bytes | None:
        """The next message, or None at the end. Raises AioRpcError, and BlindRelayError as write() does."""
        if self._ended:
            return None
        try:
            message: bytes | None = await anext(self._messages, None)
        except grpc.aio.AioRpcError:
            if not await self._made_again():
                raise
            message = await anext(self._messages, None)
        if message is not None:
            self._kept = None
            self._note("down", message)
        return message

    async def ended(self) -> None:
        """Waits for the status. Where no message can follow, that is one event of gRPC less than read()."""
        if self.grpc is not None:
            await self._messages.aclose()  # or asyncio would do it later, in a task
            await self.grpc.code()

    async def failure(self, error: grpc.aio.AioRpcError) -> RelayError:
        """The relay's reason, where read() raised `error`."""
        code, details = await self._status.status(error)
        return relay_error(code, details, await self.grpc.trailing_metadata())

    def end(self) -> None:
        """Cancels the call and drops it: gRPC's engine runs as long as a call is referred to."""
        self._ended = True
        if self.grpc is not None:
            self.grpc.cancel()
        self.grpc = self._messages = None
        self._kept = None

    def _begin(self, only_message: bytes | None) -> None:
        self._shown = self._lease.shown
        self._half_closed = only_message is not None
        self.grpc = self._begin_call(only_message)
        # Iterating, not call.read(): that forgets what has arrived once a write has failed.
        self._messages = aiter(self.grpc)
        self._status = StatusWatch(self.grpc)
        if only_message is not None:
            self._note("up", only_message)

    async def _write(self, message: bytes) -> bool:
        try:
            await self.grpc.write(message)
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            return False
        self._note("up", message)
        return True

    def _keep(self, message: bytes) -> None:
        if self._kept is not None:
            self._kept = [*self._kept, message] if len(self._kept) < MAX_KEPT else None

    async def _made_again(self) -> bool:
        """Makes the call again if the relay did not know the lease. Returns whether it did."""
        kept, self._kept = self._kept, None
        if not kept or await self._outer_status() is not OuterStatus.LEASE_UNKNOWN:
            return False
        if self._lease.shown == self._shown:  # no other exchange has renewed it meanwhile
            await self._renew_lease()
        if self._lease.shown == self._shown:
            return False  # the relay gives no lease
        if self._half_closed and len(kept) == 1:
            self._begin(kept[0])
            return True
        half_closed = self._half_closed
        self._begin(None)
        for message in kept:
            if not await self._write(message):
                return True  # reading tells why
        if half_closed:
            await self.half_close()
        return True

    async def _outer_status(self) -> OuterStatus | None:
        call = self.grpc
        nothing = grpc.aio.Metadata()
        error = grpc.aio.AioRpcError(await call.code(), nothing, nothing, await call.details())
        return OuterStatus.of(*await self._status.status(error))

    def _note(self, direction: Direction, message: bytes) -> None:
        if self._view is not None:
            self._view.note(direction, len(message))
