"""An answer on its way: the provider's pieces gathered into records, each leaving as soon as it may.

One record costs as much as many bytes do, so what is already there travels together: a small answer is
one record with head, body and tail. Nothing is held back that somebody could be reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.provider_bridge.provider_call import ProviderAnswer
from blindrelay.sealing import ResponseSealer
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_PROVIDER_FAILED,
    EXECUTION_STARTED,
    Header,
    ResponseHead,
    ResponseTail,
)
from blindrelay.v1.limits import MAX_BODY_PIECE, MAX_HEAD_SIZE

GATHER_SECONDS: Final = 0.005
"""How long the bytes of an answer that is no event stream wait for more, to leave in one record."""

Send = Callable[[list[bytes]], Awaitable[None]]


async def send_answer(answer: ProviderAnswer, sealer: ResponseSealer, send: Send) -> None:
    """Seals an answer and sends it as it comes, no faster than `send` returns.

    Raises ProviderError if it breaks off, after what came before has been sent.
    """
    head: ResponseHead | None = _head(answer)
    patience = 0.0 if answer.is_event_stream else GATHER_SECONDS
    reader = ReadAhead(answer.pieces())
    try:
        while True:
            batch = await reader.gather(patience, wait_for_first=head is None)
            tail = ResponseTail(body_end=answer.body_end) if batch.ended else None
            if batch.body or tail or not batch.failure:
                await send(sealer.seal(head=head, body=batch.body or None, tail=tail))
                head = None
            if batch.failure:
                raise batch.failure
            if batch.ended:
                return
    finally:
        await reader.aclose()


@dataclass(frozen=True)
class Batch:
    """What was there together: up to 64 KiB of the body, and perhaps its end, or the failure to get there."""

    body: bytes
    ended: bool = False
    failure: ProviderError | None = None


class ReadAhead:
    """Reads an answer's body one piece ahead, never more."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        self._pieces = pieces
        self._next: asyncio.Task[bytes | None] | None = None

    async def gather(self, patience: float, *, wait_for_first: bool) -> Batch:
        """The pieces that are there, and those that follow within `patience` seconds of the first.

        Waits for the first one as long as it takes; or, if a head waits to leave, no longer than for the
        others.
        """
        if wait_for_first:
            await self._arrives(None)
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        pieces: list[bytes] = []
        room = MAX_BODY_PIECE
        while await self._arrives(max(0.0, until - loop.time())):
            try:
                piece = self._arrived()
            except ProviderError as failure:
                return Batch(b"".join(pieces), failure=failure)
            if piece is None:
                return Batch(b"".join(pieces), ended=True)
            if len(piece) > room:
                break
            self._next = None
            pieces.append(piece)
            room -= len(piece)
        return Batch(b"".join(pieces))

    async def aclose(self) -> None:
        """Gives up the read that is under way."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
            if not self._next.cancelled():
                self._next.exception()  # looked at, so that asyncio does not complain that nobody did
        await self._pieces.aclose()

    async def _arrives(self, timeout: float | None) -> bool:
        """Whether a piece, the end or a failure is there in time."""
        if self._next is None:
            self._next = asyncio.create_task(self._read())
        if not self._next.done():
            await asyncio.wait([self._next], timeout=timeout)
        return self._next.done()

    async def _read(self) -> bytes | None:
        return await anext(self._pieces, None)

    def _arrived(self) -> bytes | None:
        return self._next.result() if self._next is not None else None


def _head(answer: ProviderAnswer) -> ResponseHead:
    headers = [Header(name=name, value=value) for name, value in answer.headers]
    head = ResponseHead(status=answer.status, headers=headers)
    if head.ByteSize() > MAX_HEAD_SIZE:
        raise ProviderError(
            ERROR_CODE_PROVIDER_FAILED,
            f"the headers of the provider's answer are over {MAX_HEAD_SIZE} bytes",
            EXECUTION_STARTED,
        )
    return head
