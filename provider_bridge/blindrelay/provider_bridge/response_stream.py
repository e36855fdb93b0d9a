"""A response on its way to the client: sealed record by record as its body arrives from the provider.

A record costs as much as many bytes, so what has arrived together is sealed together: a small response is one
record with head, body and tail. Events of an event stream are never held back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from blindrelay.provider_bridge.errors import ProviderError, bad_response
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.sealing import ResponseSealer
from blindrelay.v1.grid import Grid
from blindrelay.v1.inner_pb2 import Header, ResponseHead
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE

GATHER_SECONDS: Final = 0.005
"""How long bytes wait for more to share their record, unless the response is an event stream."""

Send = Callable[[list[bytes]], Awaitable[None]]


async def send_response(
    response: ProviderResponse, sealer: ResponseSealer, send: Send, grid: Grid | None = None
) -> None:
    """Seals a response and sends it as it arrives, no faster than `send` returns.

    With a grid, what is less than a full record waits for its next point. Nothing is read while `send`
    waits. Raises ProviderError if the response breaks off, once everything before has been sent.
    """
    head: ResponseHead | None = response_head(response)
    patience = 0.0 if response.is_event_stream else GATHER_SECONDS
    while True:
        if head is None:
            await response.arrival(None)
        batch = await _gather(response, patience if grid is None else grid.remaining)
        if grid is not None and len(batch.body) < MAX_BODY_PIECE:
            await grid.wait()
        tail = response.tail() if batch.ended else None
        if batch.body or tail or (head and not batch.failure):
            await send(sealer.seal(head=head, body=batch.body or None, tail=tail))
            head = None
        if batch.failure:
            raise batch.failure
        if batch.ended:
            return


@dataclass(frozen=True)
class Batch:
    """Up to 64 KiB of the body that arrived together, and whether the body ended or failed after them."""

    body: bytes
    ended: bool = False
    failure: ProviderError | None = None


async def _gather(response: ProviderResponse, patience: float) -> Batch:
    """What has arrived, and what follows within `patience` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    body = b""
    while True:
        try:
            body += response.take(MAX_BODY_PIECE - len(body))
        except ProviderError as failure:
            return Batch(body, failure=failure)
        left = until - loop.time()
        if response.ended or len(body) == MAX_BODY_PIECE or left <= 0 or not await response.arrival(left):
            return Batch(body, ended=response.ended)


def response_head(response: ProviderResponse) -> ResponseHead:
    """The head of a response. Raises ProviderError if it is over 32,768 bytes."""
    headers = [Header(name=name, value=value) for name, value in response.headers]
    head = ResponseHead(status=response.status, headers=headers)
    if head.ByteSize() > MAX_HEAD_SIZE:
        raise bad_response(f"the headers of the provider's response are over {MAX_HEAD_SIZE} bytes")
    return head
