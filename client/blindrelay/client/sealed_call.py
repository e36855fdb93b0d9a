"""One gRPC call with sealed records both ways: what exchanges and tunnels have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from blindrelay.client.connection import Connection
from blindrelay.client.errors import (
    AlteredResponseError,
    BridgeError,
    CutResponseError,
    ProtocolError,
    TimedOutError,
)
from blindrelay.client.relay_connection import RelayConnection, relay_error
from blindrelay.client.relay_view import RelayView
from blindrelay.sealing import ClientExchange, SealingError, ViolationError
from blindrelay.trust import VerifiedKey
from blindrelay.v1.channel import ExchangeCall
from blindrelay.v1.exchange_messages import request_message
from blindrelay.v1.exchange_pb2 import ExchangeResponse
from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.inner_pb2 import ResponseHead, ResponsePart

_FAREWELL_SECONDS: Final = 5
"""How long to wait for the stream's end after the response's: cancelling sooner would look like an abort."""

_FAREWELL_RECORDS: Final = 1_024
"""Records of padding that are read: 64 MiB, more than a response of 1 GiB has."""


@dataclass(frozen=True)
class Timeouts:
    """A request's limits in seconds, as httpx has them; None is none.

    `read` is an idle timer: it starts anew with every record. `first_byte` is the one before the first.
    """

    connect: float | None
    first_byte: float | None
    read: float | None
    write: float | None
    pool: float | None

    @classmethod
    def of(cls, extensions: dict[str, Any], connection: Connection) -> Timeouts:
        """Those in a request's extensions, and what the connection has in the place of them."""
        timeouts = extensions.get("timeout", {})
        read = timeouts.get("read")
        return cls(
            connect=timeouts.get("connect"),
            first_byte=read if connection.first_byte is None else connection.first_byte,
            read=read if connection.idle is None else connection.idle,
            write=timeouts.get("write"),
            pool=timeouts.get("pool"),
        )


class _EndedCall:
    """Stands for a call that is over: it takes no message and has none."""

    async def write(self, message: bytes) -> None:
        raise asyncio.InvalidStateError

    def cancel(self) -> bool:
        return False

    def __aiter__(self) -> _EndedCall:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


BeginCall = Callable[[bytes | None], ExchangeCall]
"""Begins the gRPC call: with all of its messages, or, with None, to write them to."""


class SealedCall:
    """Writes a request's records and reads the response's parts. Whatever fails ends the call and gives the
    room back."""

    def __init__(
        self,
        relay: RelayConnection,
        begin: BeginCall,
        key: VerifiedKey,
        sealed: ClientExchange,
        timeouts: Timeouts,
        release: Callable[[], None],
        view: RelayView | None = None,
    ) -> None:
        self.key = key
        self._relay = relay
        self._begin_call = begin
        self._call: ExchangeCall | _EndedCall | None = None
        self._sealed = sealed
        self._encapsulated_secret: bytes | None = sealed.encapsulated_secret
        self._timeouts = timeouts
        self._release: Callable[[], None] | None = release
        self._view = view
        self._pending: bytes | None = None
        self._heard = False

    async def head(self) -> ResponseHead:
        """Waits for the response's head. Raises BlindRelayError; BridgeError for an error of the bridge."""
        part = await self._next_part()
        self._pending = part.body
        return part.head

    async def body(self) -> bytes | None:
        """The next piece of the response's body, or None at its end. Raises BlindRelayError if it is cut."""
        while not self._pending:
            if self._sealed.response.ended:
                return None
            self._pending = (await self._next_part()).body
        piece, self._pending = self._pending, None
        return piece

    async def aclose(self) -> None:
        """Ends the call, if it still runs, and with it the provider's work."""
        if not self._sealed.response.ended:
            self._abandon()

    async def _write(self, records: list[bytes]) -> bool:
        """Sends records; False if the call has ended: what can be read says why."""
        for record in records:
            call, message = self._begun(None), self._message(record)
            try:
                async with asyncio.timeout(self._timeouts.write):
                    await call.write(message)
            except TimeoutError:
                self._abandon()
                raise TimedOutError("write", self._timeouts.write or 0) from None
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                return False  # the call has ended, and what is there to read tells why
            self._note_up(message)
        return True

    def _write_whole(self, record: bytes) -> None:
        """Sends the only record of a request that is at its end."""
        message = self._message(record)
        self._begun(message)
        self._note_up(message)

    def _begun(self, whole: bytes | None) -> Any:
        if self._call is None:
            self._call = call = self._begin_call(whole)
            # Iterating, not call.read(): that forgets what has arrived once a write has failed.
            self._messages: AsyncIterator[bytes] = aiter(call)
            self._status = StatusWatch(call)
        return self._call

    def _message(self, record: bytes) -> bytes:
        secret, self._encapsulated_secret = self._encapsulated_secret or b"", None
        return request_message(record, secret)

    def _note_up(self, message: bytes) -> None:
        if self._view is not None:
            self._view.note("up", len(message))

    async def _done_writing(self) -> None:
        if not isinstance(self._call, grpc.aio.StreamStreamCall):
            return  # it was whole
        try:
            await self._call.done_writing()
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
            return  # as above

    async def _next_part(self, *, patient: bool = False) -> ResponsePart:
        message = await self._read(patient=patient)
        try:
            part = self._sealed.response.open(ExchangeResponse.FromString(message).sealed)
        except (SealingError, DecodeError) as error:
            self._fail(error)
        self._heard = True
        if self._sealed.response.ended:
            self._relay.in_background(self._take_leave())
        if part.HasField("error"):
            raise BridgeError(part.error)
        return part

    async def _read(self, *, patient: bool) -> bytes:
        what = "read" if self._heard else "first_byte"
        timeout = None if patient else getattr(self._timeouts, what)
        try:
            async with asyncio.timeout(timeout):
                message = await self._next_message()
        except TimeoutError:
            self._abandon()
            raise TimedOutError(what, timeout or 0) from None
        except grpc.aio.AioRpcError as error:
            await self._lost(error)
        except asyncio.CancelledError:
            self._abandon()
            raise
        if message is None:
            self._abandon()
            raise CutResponseError("the relay ended the exchange before the response's end")
        return message

    async def _next_message(self) -> bytes | None:
        message = await anext(self._messages, None)
        if message is not None and self._view is not None:
            self._view.note("down", len(message))
        return message

    async def _lost(self, error: grpc.aio.AioRpcError) -> NoReturn:
        relay = relay_error(*await self._status.status(error))
        self._abandon()
        if not self._heard:
            raise relay from None
        raise CutResponseError(f"the response was cut before its end: {relay}") from None

    def _fail(self, error: SealingError | DecodeError) -> NoReturn:
        self._abandon()
        if isinstance(error, ViolationError):
            raise ProtocolError(f"the bridge broke the protocol: {error}") from None
        raise AlteredResponseError from None

    async def _take_leave(self) -> None:
        """Reads the padding and the status, so that nobody on the way takes the end for an abort."""
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._done_writing()  # a response may come before its request is at its end
                for _ in range(_FAREWELL_RECORDS):
                    if await self._next_message() is None:
                        break
        except (TimeoutError, grpc.aio.AioRpcError):
            return  # the response was whole before
        finally:
            self._abandon()

    def _abandon(self) -> None:
        if self._call is not None:
            self._call.cancel()
        # gRPC's engine runs for as long as anybody refers to a call; applications keep responses.
        self._call = self._messages = _EndedCall()
        if self._release is not None:
            self._release()
            self._release = None
