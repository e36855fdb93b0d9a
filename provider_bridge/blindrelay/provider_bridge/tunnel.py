"""A tunnel: WebSocket frames between client and provider, both ways at once (spec/protocol.md, 10.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from blindrelay.provider_bridge.errors import RequestError, SealedError
from blindrelay.provider_bridge.exchange_opener import ClaimedExchange
from blindrelay.provider_bridge.request_body import LINGER_SECONDS, discard_rest, next_part
from blindrelay.provider_bridge.response_stream import Send
from blindrelay.provider_bridge.upstream.provider_tunnel import ProviderTunnel
from blindrelay.sealing import CLOSE, TUNNEL_STATUS, close_frame
from blindrelay.serving import Context
from blindrelay.v1.inner_pb2 import (
    ERROR_CODE_DEADLINE,
    EXECUTION_STARTED,
    Frame,
    Header,
    ResponseHead,
    ResponseTail,
)

GOING_AWAY: Final = 1001
"""RFC 6455, section 7.4.1: what the provider hears when the client left without a word."""


class FrameFilter(Protocol):
    """Takes a client's frames and gives those that may go on, which are then sent (raises RequestError); and
    says which of the provider's frames may not come back."""

    due: float | None

    async def passed(self, frame: Frame) -> Iterable[Frame]: ...

    def sent(self) -> None: ...

    def withholds(self, frame: Frame) -> bool: ...


class Tunnel:
    """Frames of one exchange, until the provider's close."""

    def __init__(
        self,
        claimed: ClaimedExchange,
        context: Context,
        provider: ProviderTunnel,
        gate: FrameFilter,
        send: Send,
    ) -> None:
        self._claimed = claimed
        self._context = context
        self._provider = provider
        self._gate = gate
        self._send = send
        self._up: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Returns when the provider's close has been passed on. Raises SealedError.

        The way up stays open for a client that has not heard yet, until leave() or drop().
        """
        self._up = asyncio.create_task(self._watch_upward())
        await self._downward()

    async def leave(self) -> None:
        """Reads what the client still sends, for a moment, as discard_rest() does."""
        if self._up is not None:
            await asyncio.wait([self._up], timeout=LINGER_SECONDS)
        self.drop()

    def drop(self) -> None:
        """Reads nothing more."""
        if self._up is not None:
            self._up.cancel()

    async def _downward(self) -> None:
        sealer = self._claimed.response
        headers = [Header(name=name, value=value) for name, value in self._provider.headers]
        await self._send(sealer.seal(head=ResponseHead(status=TUNNEL_STATUS, headers=headers)))
        while not sealer.ended:
            frame = await self._provider.receive()
            if self._gate.withholds(frame):
                continue
            await self._send(sealer.seal(frame=frame))
            if frame.opcode == CLOSE:
                await self._send(sealer.seal(tail=ResponseTail()))

    async def _watch_upward(self) -> None:
        """Has the way down fail as well when the way up does: it is the one that can say so."""
        try:
            await self._upward()
        except SealedError as error:
            await self._provider.abort(SealedError(error.code, str(error), EXECUTION_STARTED))
        except Exception as fault:
            await self._provider.abort(fault)
        await discard_rest(self._claimed, self._context)

    async def _upward(self) -> None:
        request, part = self._claimed.request, self._claimed.first
        while True:
            if part.HasField("frame"):
                for frame in await self._gate.passed(part.frame):
                    await self._provider.send(frame)
                self._gate.sent()
            if request.finished:
                break
            try:
                async with asyncio.timeout_at(self._gate.due):
                    part = await next_part(self._claimed, self._context)
            except TimeoutError:
                raise RequestError(ERROR_CODE_DEADLINE, "a message did not arrive in time") from None
        await self._provider.send(close_frame(GOING_AWAY))  # dropped if the client's own close came
