"""One sealed HTTP exchange: a request with its body, and its response."""

from __future__ import annotations

from collections.abc import AsyncIterable

from blindrelay.client.errors import ProtocolError, RequestError
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.sealing import TUNNEL_STATUS, StateError
from blindrelay.v1.inner_pb2 import RequestHead, ResponseHead
from blindrelay.v1.limits import MAX_BODY_PIECE


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
        return await _send_bytes(stream, body)
    async for piece in body:
        if not await _send_bytes(stream, piece):
            return False
    return True


async def _send_bytes(stream: SealedStream, body: bytes) -> bool:
    view = memoryview(body)
    for start in range(0, len(view), MAX_BODY_PIECE):  # so that never all of it is sealed at once
        if not await stream.write(stream.request.body(view[start : start + MAX_BODY_PIECE])):
            return False
    return True
