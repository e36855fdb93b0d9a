"""The rest of a request after its first record: collected until it is whole, within bounds."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.request_budget import Share
from blindrelay.sealing import SealingError
from blindrelay.serving import Context
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_DEADLINE,
    ERROR_CODE_MALFORMED,
    ERROR_CODE_TOO_LARGE,
    RequestPart,
)
from blindrelay.v1.limits import LEAST_BYTES_PER_SECOND, RECORD_SECONDS

GRACE_SECONDS: Final = 120.0
"""What a request has before it is held to the least rate: slow lines begin slowly and pause."""

CANCELLATION_SECONDS: Final = 0.05
"""What gRPC takes, at the very most, from the end of a cancelled stream to the cancellation itself."""

LINGER_SECONDS: Final = 2.0
"""How long the rest of a refused request is still read: many round trips."""


async def read_body(exchange: ClaimedExchange, context: Context, share: Share, limit: int) -> bytearray:
    """The body of a request, once its end and its final record have opened.

    Raises RequestError if it is over `limit` bytes, if the budget has no room, if it comes too slowly, or
    if it does not open or is cut.
    """
    body = bytearray()
    pace = Pace()
    part = exchange.first
    while True:
        gather(body, part.body, share, limit, "the request's body")
        if exchange.request.finished:
            return body
        try:
            async with asyncio.timeout_at(pace.due(len(body))):
                part = await next_part(exchange, context)
        except TimeoutError:
            raise RequestError(ERROR_CODE_DEADLINE, "the request did not arrive in time") from None


class Pace:
    """How fast a request, or a message of a tunnel, has to come from now on."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def due(self, size: int) -> float:
        """When its next record has to be here, in the event loop's time, if `size` bytes have come by now."""
        slowest = self._began + GRACE_SECONDS + size / LEAST_BYTES_PER_SECOND
        return min(slowest, asyncio.get_running_loop().time() + RECORD_SECONDS)


async def discard_rest(exchange: ClaimedExchange, context: Context) -> None:
    """Reads what is left of a request that has been answered already.

    If the call ended under a client that is still writing, its gRPC would report the failed write and lose
    the response that explains it.
    """
    if exchange.request.finished:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while await context.read() is not grpc.aio.EOF:
                pass


def gather(held: bytearray, piece: bytes, share: Share, limit: int, what: str) -> None:
    """Adds a piece to what is held. Raises RequestError if that is over `limit` bytes or there is no room."""
    if len(held) + len(piece) > limit:
        raise RequestError(
            ERROR_CODE_TOO_LARGE, f"{what} is over {limit} bytes, the most that this bridge takes"
        )
    share.add(len(piece))
    held += piece


async def next_part(exchange: ClaimedExchange, context: Context) -> RequestPart:
    """The part in the next record. Raises RequestError if there is none, or it does not open."""
    message = await context.read()
    try:
        if message is grpc.aio.EOF:
            # gRPC says the same of a client that went away; then this task is cancelled next.
            await asyncio.sleep(CANCELLATION_SECONDS)
            exchange.request.close()
        request = ExchangeRequest.FromString(message)
        if not request.encapsulated_secret:
            return exchange.request.open(request.sealed)
    except (SealingError, DecodeError) as error:
        # A SealingError's sentence says no more than the client may know; a DecodeError's is not ours.
        reason = str(error) if isinstance(error, SealingError) else "a message of the request is not one"
        raise RequestError(ERROR_CODE_MALFORMED, reason) from None
    raise RequestError(ERROR_CODE_MALFORMED, "a second encapsulated secret came in one exchange")
