"""One sealed HTTP exchange: a request with its body, and its response."""

from __future__ import annotations

from blindrelay.client.errors import ProtocolError, RequestError
from blindrelay.client.sealed_call import SealedCall
from blindrelay.sealing import TUNNEL_STATUS, StateError
from blindrelay.v1.inner_pb2 import RequestHead, ResponseHead


class SealedExchange(SealedCall):
    """Sends a request and reads its response."""

    def begin(self, head: RequestHead) -> None:
        """Takes the request's head; it leaves with the first record."""
        try:
            self._sealed.request.head(head)
        except StateError as error:
            self._abandon()
            raise RequestError(str(error)) from None

    async def head(self) -> ResponseHead:
        """As a call's, and never a tunnel's."""
        head = await super().head()
        if head.status == TUNNEL_STATUS:
            self._abandon()
            raise ProtocolError("the bridge opened a tunnel that nobody had asked for")
        return head

    async def send(self, data: bytes | memoryview) -> bool:
        """Seals and sends a piece of the body; False if the call has ended: what can be read says why."""
        return await self._write(self._sealed.request.body(data))

    async def finish(self) -> ResponseHead:
        """Ends the request and waits for the response's head. Raises BlindRelayError."""
        records = self._sealed.request.end()
        if self._call is None and len(records) == 1:
            self._write_whole(records[0])
        elif await self._write(records):
            await self._done_writing()
        return await self.head()
