"""One gRPC call that carries sealed records both ways. An exchange and a tunnel each use one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import grpc
from google.protobuf.message import DecodeError

from blindrelay.client.bill import Bill
from blindrelay.client.errors import (
    AlteredResponseError,
    BlindRelayError,
    BridgeError,
    CutResponseError,
    ProtocolError,
    TimedOutError,
)
from blindrelay.client.relay_call import RelayCall
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.client.timeouts import Timeouts
from blindrelay.sealing import ClientExchange, SealingError, ViolationError, joined
from blindrelay.trust import VerifiedKey
from blindrelay.v1.exchange_messages import request_message
from blindrelay.v1.exchange_pb2 import ExchangeResponse
from blindrelay.v1.inner_pb2 import ResponseHead, ResponsePart

_DRAIN_SECONDS: Final = 5
"""How long to wait for the end of the call after the end of the response. Cancelling it would look like an
abort."""


class SealedStream:
    """Sends a request's records and reads the parts of its response.

    Every failure ends the call and gives its room on the connection back.

    Attributes:
        key: the key that the request is sealed to.
        request: the sealer, whose records write() and finish() send.
        ended: whether the response is complete.
        bill: what the exchange costs.
        at_response_end: is called once the response has ended; by default, the request is half-closed.
    """

    def __init__(
        self,
        relay: RelayConnection,
        call: RelayCall,
        key: VerifiedKey,
        sealed: ClientExchange,
        timeouts: Timeouts,
        bill: Bill,
    ) -> None:
        self.key = key
        self.bill = bill
        self.request = sealed.request
        self.at_response_end: Callable[[], Awaitable[None]] | None = None
        self._response = sealed.response
        self._secret = sealed.encapsulated_secret
        self._relay = relay
        self._call = call
        self._timeouts = timeouts
        self._body: bytes | None = None
        self._begun = False
        self._closed = False
        self._left = False

    @property
    def ended(self) -> bool:
        return self._response.ended

    async def write(self, records: list[bytes]) -> bool:
        """Sends records. Returns False if the call has ended: reading the response then tells why."""
        for record in records:
            if self._closed or not await self._write(record):
                return False
        return True

    async def finish(self, records: list[bytes]) -> None:
        """Sends the last records of the request."""
        if not self._call.is_open and not self._closed and len(records) == 1:
            self._call.send_only(self._message(records[0]))
        elif await self.write(records):
            await self._call.half_close()

    async def head(self) -> ResponseHead:
        """Waits for the response's head. Raises BlindRelayError; BridgeError if the bridge sent an error."""
        part = await self.part()
        self._body = part.body
        return part.head

    async def body(self) -> bytes | None:
        """The next bytes of the response's body, or None at its end. Raises BlindRelayError if it is cut."""
        while not self._body:
            if self.ended:
                return None
            self._body = (await self.part()).body
        return self.arrived()

    def arrived(self) -> bytes | None:
        """What body() would return at once, or nothing. Other threads may call it between two body()."""
        body, self._body = self._body, None
        return body

    async def part(self) -> ResponsePart:
        """The response's next part, within the time limits. Raises BlindRelayError.

        Cells without content are passed over.
        """
        part = joined(await self._read(patient=False), ResponsePart)
        self._begun = True
        if self.ended:
            self._end_with(part)
        if part.HasField("error"):
            raise BridgeError(part.error)
        return part

    async def parts(self) -> list[ResponsePart]:
        """The next parts of a tunnel, of one record or cell, without a time limit. Raises BlindRelayError.

        An error of the bridge is one of them.
        """
        parts = await self._read(patient=True)
        self._begun = True
        if self.ended:
            self._end_with(parts[-1])
        return parts

    async def aclose(self) -> None:
        """Cancels the call, and with it the provider's work, unless the response has ended."""
        if not self.ended:
            self._close()

    async def _write(self, record: bytes) -> bool:
        try:
            async with asyncio.timeout(self._timeouts.write):
                return await self._call.write(self._message(record))
        except TimeoutError:
            self._close()
            raise TimedOutError("write", self._timeouts.write or 0) from None
        except BlindRelayError:
            self._close()
            raise

    def _message(self, record: bytes) -> bytes:
        if self._secret:
            self.bill.begin()
        secret, self._secret = self._secret, b""  # it travels with the first record
        return request_message(record, secret)

    async def _read(self, *, patient: bool) -> list[ResponsePart]:
        what = "read" if self._begun else "first_byte"
        timeout = None if patient else getattr(self._timeouts, what)
        try:
            async with asyncio.timeout(timeout):
                parts = await self._next_parts()
        except TimeoutError:
            self._close()
            raise TimedOutError(what, timeout or 0) from None
        except grpc.aio.AioRpcError as error:
            await self._lost(error)
        except (asyncio.CancelledError, BlindRelayError):
            self._close()
            raise
        return parts

    async def _next_parts(self) -> list[ResponsePart]:
        """The parts in the next record that has any."""
        while (message := await self._call.read()) is not None:
            try:
                parts = self._opened(message)
            except (SealingError, DecodeError) as error:
                self._close()
                if isinstance(error, ViolationError):
                    raise ProtocolError(f"the bridge broke the protocol: {error}") from None
                raise AlteredResponseError from None
            if parts:
                return parts
        self._close()
        raise CutResponseError("the relay ended the exchange before the response's end")

    def _opened(self, message: bytes) -> list[ResponsePart]:
        """Raises SealingError, DecodeError."""
        return self._response.parts(ExchangeResponse.FromString(message).sealed)

    async def _lost(self, error: grpc.aio.AioRpcError) -> NoReturn:
        relay = await self._call.failure(error)
        self._close()
        if not self._begun:
            self.bill.refuse(relay.status)
            raise relay from None
        raise CutResponseError(f"the response was cut before its end: {relay}") from None

    def _end_with(self, part: ResponsePart) -> None:
        self._leave_to_end()
        self.bill.take(part.error if part.HasField("error") else part.tail)

    def _leave_to_end(self) -> None:
        """Reads the rest in the background: a few records of padding, or the last cells for many seconds."""
        if self._response.in_cells and not self._response.is_tunnel:
            self._leave()
            self._relay.trail(self._call.grpc, self._drain(None))
        else:
            self._relay.in_background(self._drain(_DRAIN_SECONDS))

    async def _drain(self, seconds: float | None) -> None:
        """Reads the padding and the status, so that the relay does not take the end for an abort.

        The records are opened: a relay cannot make the client read more than the bridge has sent.
        """
        try:
            async with asyncio.timeout(seconds):
                await (self.at_response_end or self._call.half_close)()
                while not self._response.finished and (message := await self._call.read()) is not None:
                    self._opened(message)
                await self._call.ended()
        except (TimeoutError, TimedOutError, grpc.aio.AioRpcError, SealingError, DecodeError):
            return  # the response was already complete
        finally:
            self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._call.end()  # applications keep responses
        self.at_response_end = None
        self._leave()

    def _leave(self) -> None:
        """Gives the room on the connection back, once."""
        if not self._left:
            self._left = True
            self._relay.leave()
