"""The client's side of a tunnel, made of the core and a bare gRPC call."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc

from blindrelay.sealing import CLOSE, TEXT, CellSealer, close_reason, data_frames, encapsulate
from blindrelay.v1.exchange_pb2 import ExchangeRequest, ExchangeResponse
from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT, EXCHANGE_KIND_TUNNEL, Frame, RequestPart, ResponsePart

from .sealed_caller import Call, Response, SealedCaller, SealedRequest, request_head

REALTIME = "https://api.openai.com/v1/realtime?model=gpt-realtime"
BROUGHT: dict[str, Any] = {"credential": CREDENTIAL_BROUGHT, "headers": {b"authorization": b"Bearer sk-own"}}
HELLO = json.dumps({"type": "session.update", "session": {"instructions": "Be brief."}})


@dataclass
class SealedTunnel:
    """One tunnel. What opened with the last record, and was not taken yet, is in `_arrived`."""

    request: SealedRequest
    call: Call
    sizes: list[int] = field(default_factory=list)
    """Bytes of each record that came."""
    _arrived: deque[ResponsePart] = field(default_factory=deque)

    @classmethod
    async def opened(cls, caller: SealedCaller, url: str = REALTIME, **fields: Any) -> SealedTunnel:
        made, config = await caller.envelope()
        encoded = made.SerializeToString(deterministic=True)
        exchange = encapsulate(encoded, config)
        (first,) = exchange.request.open_tunnel(request_head(url, "GET", kind=EXCHANGE_KIND_TUNNEL, **fields))
        message = ExchangeRequest(encapsulated_secret=exchange.encapsulated_secret, sealed=first)
        request = SealedRequest(encoded, [message.SerializeToString()], exchange)
        return cls(request, await caller.begin(request))

    async def part(self) -> ResponsePart | None:
        """The next part; None at the stream's end. Raises as the core does."""
        while not self._arrived:
            message = await self.call.read()
            if message is grpc.aio.EOF:
                self.request.exchange.response.close()
                return None
            assert isinstance(message, bytes)
            self.take(message)
        return self._arrived.popleft()

    def take(self, message: bytes) -> None:
        """Opens a message, whose parts part() gives."""
        sealed = ExchangeResponse.FromString(message).sealed
        self.sizes.append(len(sealed))
        self._arrived += self.request.exchange.response.parts(sealed)

    async def response(self) -> Response:
        """The next part, as a response: a head, or an error."""
        response = Response()
        part = await self.part()
        assert part is not None
        response.take(part)
        return response

    async def send(self, frame: Frame) -> None:
        for record in self.request.exchange.request.frame(frame):
            await self.call.write(ExchangeRequest(sealed=record).SerializeToString())

    async def send_cell(self, cells: CellSealer, *sent: RequestPart) -> None:
        for part in sent:
            cells.add(part)
        await self.call.write(ExchangeRequest(sealed=cells.cell()).SerializeToString())

    async def say(self, text: str) -> None:
        for frame in data_frames(TEXT, text.encode()):
            await self.send(frame)

    async def end(self) -> None:
        for record in self.request.exchange.request.end():
            await self.call.write(ExchangeRequest(sealed=record).SerializeToString())
        await self.call.done_writing()

    async def over(self) -> None:
        """Ends the request, after which nothing more comes."""
        await self.end()
        assert await self.part() is None

    async def heard(self) -> bytes:
        data = b""
        while True:
            part = await self.part()
            assert part is not None
            assert part.HasField("frame"), part
            data += part.frame.data
            if part.frame.fin:
                return data

    async def closed(self) -> tuple[int | None, str]:
        """The provider's close, and after it nothing but the tail."""
        close, tail = await self.part(), await self.part()
        assert close is not None
        assert tail is not None
        assert (close.frame.opcode, tail.HasField("tail")) == (CLOSE, True)
        assert self.request.exchange.response.finished
        return close_reason(close.frame)


async def opened(caller: SealedCaller, url: str = REALTIME, **fields: Any) -> SealedTunnel:
    tunnel = await SealedTunnel.opened(caller, url, **fields)
    assert (await tunnel.response()).status == 101
    return tunnel
