"""A sealed tunnel: a WebSocket's frames, both ways (spec/protocol.md, section 10.4)."""

from __future__ import annotations

import asyncio

from blindrelay.client.errors import RequestError
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.sealing import TUNNEL_STATUS, StateError
from blindrelay.v1.inner_pb2 import Frame, RequestHead, ResponseHead


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
        return response

    async def send(self, frame: Frame) -> bool:
        """Seals and sends a frame. Returns False if the tunnel has ended: receive() then tells why.

        Raises RequestError for a frame that may not follow the previous one.
        """
        async with self._sending:
            if self.stream.request.ended:
                return False
            try:
                records = self.stream.request.frame(frame)
            except StateError as error:
                raise RequestError(str(error)) from None
            return await self.stream.write(records)

    async def end(self) -> None:
        """Tells the bridge that no more frames follow."""
        async with self._sending:
            if not self.stream.request.ended:
                await self.stream.finish(self.stream.request.end())

    async def receive(self) -> Frame | None:
        """The next frame, without a time limit; None after the provider's close. Raises BlindRelayError."""
        while not self.stream.ended:
            part = await self.stream.part(patient=True)
            if part.HasField("frame"):
                return part.frame
        return None

    async def aclose(self) -> None:
        """Ends the tunnel, and with it the provider's work."""
        await self.stream.aclose()
