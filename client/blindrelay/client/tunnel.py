"""One sealed tunnel: a WebSocket's frames, both ways (spec/protocol.md, section 10.4)."""

from __future__ import annotations

import asyncio
from typing import Any

from blindrelay.client.errors import RequestError
from blindrelay.client.sealed_call import SealedCall
from blindrelay.sealing import TUNNEL_STATUS, StateError
from blindrelay.v1.inner_pb2 import Frame, RequestHead, ResponseHead


class SealedTunnel(SealedCall):
    """Sends and receives frames, in two tasks if need be.

    Attributes:
        headers: of the response that opened it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.headers: list[tuple[bytes, bytes]] = []
        self._sending = asyncio.Lock()

    async def dial(self, head: RequestHead) -> ResponseHead:
        """Sends the request's head and waits for the response's. Raises BlindRelayError.

        With another status than 101 the provider gave an ordinary response, whose body() follows.
        """
        try:
            records = self._sealed.request.open_tunnel(head)
        except StateError as error:
            self._abandon()
            raise RequestError(str(error)) from None
        await self._write(records)
        response = await self.head()
        if response.status != TUNNEL_STATUS:
            await self.end()
        return response

    async def send(self, frame: Frame) -> bool:
        """Seals and sends a frame; False if the tunnel has ended: what can be received says why.

        Raises RequestError for one that may not follow.
        """
        async with self._sending:
            if self._sealed.request.ended:
                return False
            try:
                records = self._sealed.request.frame(frame)
            except StateError as error:
                raise RequestError(str(error)) from None
            return await self._write(records)

    async def end(self) -> None:
        """Says that nothing more is sent."""
        async with self._sending:
            if not self._sealed.request.ended and await self._write(self._sealed.request.end()):
                await super()._done_writing()

    async def receive(self) -> Frame | None:
        """The next frame, however late it comes; None after the provider's close. Raises BlindRelayError."""
        while not self._sealed.response.ended:
            part = await self._next_part(patient=True)
            if part.HasField("frame"):
                return part.frame
        return None

    async def _done_writing(self) -> None:
        await self.end()
