"""One sealed HTTP exchange: a request with its body, and its response."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterator
from typing import Final

from blindrelay.client.errors import ProtocolError, RequestError
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.sealing import TUNNEL_STATUS, RequestSealer, StateError
from blindrelay.v1.inner_pb2 import RequestHead, ResponseHead
from blindrelay.v1.limits import MAX_BODY_PIECE

_SEALED_AT_ONCE: Final = 4 * MAX_BODY_PIECE
"""Bytes of a body that are sealed together. The last quarter waits, in a copy, for what follows."""


async def exchange(
    stream: SealedStream, head: RequestHead, body: bytes | AsyncIterable[bytes]
) -> ResponseHead:
    """Sends a request and waits for the response's head. Its body follows from stream.body().

    Raises BlindRelayError.
    """
    try:
        stream.request.head(head)
    except StateError as error:
        raise RequestError(str(error)) from None
    if await _send(stream, body):
        await stream.finish(stream.request.end())
    response = await stream.head()
    if response.status == TUNNEL_STATUS:
        raise ProtocolError("the bridge opened a tunnel for a request that did not ask for one")
    return response


async def _send(stream: SealedStream, body: bytes | AsyncIterable[bytes]) -> bool:
    """Seals and sends a body. Returns False if the call has ended."""
    if isinstance(body, bytes):
        return await stream.write(_records(stream.request, body))
    async for piece in body:
        if not await stream.write(_records(stream.request, piece)):
            return False
    return True


def _records(request: RequestSealer, body: bytes) -> Iterator[bytes]:
    """The records that a body fills, sealed as they are taken."""
    view = memoryview(body)
    for start in range(0, len(view), _SEALED_AT_ONCE):
        yield from request.body(view[start : start + _SEALED_AT_ONCE])
