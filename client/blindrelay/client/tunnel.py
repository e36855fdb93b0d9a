"""A sealed tunnel: a WebSocket's frames, both ways (spec/protocol.md, section 10.4)."""

from __future__ import annotations

import asyncio
from collections import deque

from blindrelay.client.errors import BridgeError, RequestError
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.client.tunnel_cells import TunnelCells
from blindrelay.sealing import SHAPES, TUNNEL_STATUS, StateError
from blindrelay.v1.inner_pb2 import Frame, RequestEnd, RequestHead, RequestPart, ResponseHead, ResponsePart


class SealedTunnel:
    """Sends and receives frames. Two tasks may do so at once.

    Attributes:
        stream: carries the tunnel; it gives the body of a response that is not 101.
        headers: of the response that opened the tunnel.
    """

    def __init__(self, stream: SealedStream) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.stream = stream
        self._sending = asyncio.Lock()
        self._cells: TunnelCells | None = None
        self._arrived: deque[ResponsePart] = deque()
        stream.at_response_end = self.end

    async def dial(self, head: RequestHead) -> ResponseHead:
        """Sends the request's head and waits for the response's. Raises BlindRelayError.

        A status other than 101 is an ordinary response of the provider. Its body follows from stream.body().
        """
        try:
            records = self.stream.request.open_tunnel(head)
        except StateError as error:
            raise RequestError(str(error)) from None
        await self.stream.write(records)
        response = await self.stream.head()
        if response.status != TUNNEL_STATUS:
            await self.end()
        elif (shape := SHAPES.get(head.shaping.profile)) is not None:
            self._cells = TunnelCells(self.stream, self.stream.request.tunnel_in_cells(shape))
        return response

    async def send(self, frame: Frame) -> bool:
        """Seals and sends a frame. Returns False if the tunnel has ended: receive() then tells why.

        In a shaped tunnel it leaves with the next cells. Raises RequestError for a frame that may not follow
        the previous one.
        """
        async with self._sending:
            if self.stream.request.ended:
                return False
            try:
                if self._cells is not None:
                    return await self._cells.add(RequestPart(frame=frame))
                records = self.stream.request.frame(frame)
            except StateError as error:
                raise RequestError(str(error)) from None
            return await self.stream.write(records)

    async def end(self) -> None:
        """Tells the bridge that no more frames follow."""
        async with self._sending:
            if self.stream.request.ended:
                return
            if self._cells is None:
                await self.stream.finish(self.stream.request.end())
            else:
                await self._cells.add(RequestPart(end=RequestEnd()))
        if self._cells is not None:
            await self._cells.sent()

    async def receive(self) -> Frame | None:
        """The next frame, without a time limit; None after the provider's close. Raises BlindRelayError."""
        while self._arrived or not self.stream.ended:
            if not self._arrived:
                self._arrived += await self.stream.parts()
            part = self._arrived.popleft()
            if part.HasField("error"):
                raise BridgeError(part.error)
            if part.HasField("frame"):
                return part.frame
        return None

    async def aclose(self) -> None:
        """Ends the tunnel, and with it the provider's work."""
        if self._cells is not None and not self.stream.ended:
            self._cells.drop()
        await self.stream.aclose()
