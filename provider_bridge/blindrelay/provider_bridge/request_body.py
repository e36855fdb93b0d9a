"""A request's body: collected from its records until it is complete, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.request_budget import Share
from blindrelay.sealing import Buffer, SealingError
from blindrelay.serving import Context
from blindrelay.v1.exchange_messages import later_record
from blindrelay.v1.inner_pb2 import ERROR_CODE_DEADLINE, ERROR_CODE_MALFORMED
from blindrelay.v1.limits import LEAST_BYTES_PER_SECOND, RECORD_SECONDS

GRACE_SECONDS: Final = 120.0
"""Before the least rate applies to a request: slow connections start slowly and pause."""

CANCELLATION_SECONDS: Final = 0.05
"""The longest that gRPC takes from the end of a cancelled stream to the cancellation itself."""

LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused request is read: many round trips."""

T = TypeVar("T")

Look = Callable[[bytearray], None] | None
"""Looks at a body that is not complete yet, or nobody does."""


async def read_body(
    exchange: ClaimedExchange, context: Context, share: Share, limit: int, look: Look = None
) -> bytearray:
    """The body of a request, once its end and its final record have opened.

    `look` is called after each record of a body of several, so that little is left to do at the end. Raises
    RequestError if the body is over `limit` bytes, if the budget is used up, if it arrives too slowly, or if
    it does not open or is cut.
    """
    body = bytearray()
    pace = Pace()
    piece: Buffer = exchange.first.body
    try:
        async with asyncio.timeout(None) as time:
            while True:
                share.append(body, piece, limit, "the request's body")
                if exchange.request.finished:
                    return body
                if look is not None:
                    look(body)
                time.reschedule(pace.due(len(body)))
                piece = await next_record(exchange, context, exchange.request.body)
    except TimeoutError:
        raise RequestError(ERROR_CODE_DEADLINE, "the request did not arrive in time") from None


class Pace:
    """How fast a request, or a message of a tunnel, has to arrive from now on."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def due(self, size: int) -> float:
        """When the next record must have arrived, in the event loop's time, if `size` bytes have by now."""
        slowest = self._began + GRACE_SECONDS + size / LEAST_BYTES_PER_SECOND
        return min(slowest, asyncio.get_running_loop().time() + RECORD_SECONDS)


async def discard_request(exchange: ClaimedExchange, context: Context) -> None:
    """Reads the rest of a request that already has its response.

    If the call ended while the client still writes, the client's gRPC would report the failed write and lose
    the response that explains it.
    """
    if exchange.request.finished:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while await context.read() is not grpc.aio.EOF:
                pass


async def next_record(exchange: ClaimedExchange, context: Context, opened: Callable[[Buffer], T]) -> T:
    """What `opened` makes of the next record. Raises RequestError at the end, and if it does not open."""
    message = await context.read()
    try:
        if message is grpc.aio.EOF:
            # gRPC gives EOF for a client that went away, too; then it cancels this task next.
            await asyncio.sleep(CANCELLATION_SECONDS)
            exchange.request.close()
        record = later_record(message)
        if record is not None:
            return opened(record)
    except SealingError as error:  # its text says no more than the client may know
        raise RequestError(ERROR_CODE_MALFORMED, str(error)) from None
    except DecodeError:
        raise RequestError(ERROR_CODE_MALFORMED, "a message of the request cannot be decoded") from None
    raise RequestError(ERROR_CODE_MALFORMED, "a second encapsulated secret came in one exchange")
