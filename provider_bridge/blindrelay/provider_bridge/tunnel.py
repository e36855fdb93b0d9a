"""A tunnel: WebSocket frames between client and provider, both ways (spec/protocol.md, section 10.4)."""

from __future__ import annotations

import asyncio
from typing import Final

from blindrelay.provider_bridge.billing.bill import Bill
from blindrelay.provider_bridge.errors import RequestError, SealedError
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.frame_filter import FrameFilter
from blindrelay.provider_bridge.pacer import Pacer
from blindrelay.provider_bridge.request_body import LINGER_SECONDS, discard_request, next_record
from blindrelay.provider_bridge.response_stream import Send
from blindrelay.provider_bridge.upstream.provider_tunnel import ProviderTunnel
from blindrelay.sealing import CLOSE, TUNNEL_STATUS, CellSealer, close_frame
from blindrelay.serving import Context
from blindrelay.v1.inner_pb2 import (
    BODY_END_UNSPECIFIED,
    ERROR_CODE_DEADLINE,
    EXECUTION_STARTED,
    Frame,
    Header,
    ResponseHead,
    ResponsePart,
)

GOING_AWAY: Final = 1001
"""RFC 6455, section 7.4.1: for the provider, when the client left without a close."""


class Tunnel:
    """Frames of one exchange, until the provider's close."""

    def __init__(
        self,
        claimed: ClaimedExchange,
        context: Context,
        provider: ProviderTunnel,
        frames: FrameFilter,
        send: Send,
        bill: Bill,
    ) -> None:
        self._claimed = claimed
        self._context = context
        self._provider = provider
        self._filter = frames
        self._send = send
        self._bill = bill
        self._upload: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    async def open(self) -> None:
        """Tells the client that the provider has accepted."""
        headers = [Header(name=name, value=value) for name, value in self._provider.headers]
        head = ResponseHead(status=TUNNEL_STATUS, headers=headers)
        await self._send(self._claimed.response.seal(head=head))

    async def run(self, pacer: Pacer | None) -> None:
        """Returns when the provider's close has been passed on, by the pacer if any. Raises SealedError.

        The client's frames are read until leave() or drop(), since it may not have seen the close yet.
        """
        self._upload = asyncio.create_task(self._watch_upload())
        if pacer is None:
            await self._download()
        else:
            await self._download_in_cells(pacer)

    async def leave(self) -> None:
        """Reads what the client still sends, for a moment, as discard_request() does."""
        if self._upload is not None:
            await asyncio.wait([self._upload], timeout=LINGER_SECONDS)
        self.drop()

    def drop(self) -> None:
        """Reads nothing more."""
        if self._upload is not None:
            self._upload.cancel()

    async def _download(self) -> None:
        sealer = self._claimed.response
        while not sealer.ended:
            frame = await self._next_frame()
            await self._send(sealer.seal(frame=frame))
            if frame.opcode == CLOSE:
                await self._send(sealer.seal(tail=self._bill.tail(BODY_END_UNSPECIFIED)))
            elif frame.fin:
                self._check_room()

    def _check_room(self) -> None:
        try:
            self._bill.check_room()
        except RequestError as error:
            raise SealedError(error.code, str(error), EXECUTION_STARTED) from None

    async def _download_in_cells(self, pacer: Pacer) -> None:
        """Frames are added as they come, while the next cell has room. The pacer sends what there is."""
        adding = asyncio.create_task(self._add_frames(pacer.cells))

        def at_a_tick(_: CellSealer) -> None:
            self._room.set()
            if adding.done():
                adding.result()

        try:
            await pacer.run(at_a_tick)
            await pacer.finish()
        finally:
            adding.cancel()

    async def _add_frames(self, cells: CellSealer) -> None:
        while not cells.ended:
            frame = await self._next_frame()
            while not cells.has_room:
                self._room.clear()
                await self._room.wait()
            cells.add(ResponsePart(frame=frame))
            if frame.opcode == CLOSE:
                cells.add(ResponsePart(tail=self._bill.tail(BODY_END_UNSPECIFIED)))
            elif frame.fin:
                self._check_room()

    async def _next_frame(self) -> Frame:
        """The provider's next frame that may pass."""
        while True:
            frame = await self._provider.receive()
            self._bill.frame(frame)
            if not self._filter.withholds(frame):
                return frame

    async def _watch_upload(self) -> None:
        """Makes the download fail when the upload does: only the download can report it."""
        try:
            await self._send_frames()
        except SealedError as error:
            await self._provider.abort(SealedError(error.code, str(error), EXECUTION_STARTED))
        except Exception as fault:
            await self._provider.abort(fault)
        await discard_request(self._claimed, self._context)

    async def _send_frames(self) -> None:
        request, parts = self._claimed.request, [self._claimed.first]
        while True:
            for part in parts:
                if part.HasField("frame"):
                    for frame in await self._filter.passed(part.frame):
                        await self._provider.send(frame)
                    self._filter.sent()
            if request.finished:
                break
            try:
                async with asyncio.timeout_at(self._filter.due):
                    parts = await next_record(self._claimed, self._context, self._claimed.request.parts)
            except TimeoutError:
                raise RequestError(ERROR_CODE_DEADLINE, "a message did not arrive in time") from None
        await self._provider.send(close_frame(GOING_AWAY))  # dropped if the client has sent its own close
