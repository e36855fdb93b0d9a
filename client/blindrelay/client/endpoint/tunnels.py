"""WebSockets: passes messages through a sealed tunnel, in both directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

import httpx
from starlette.types import Message, Receive, Scope, Send

from blindrelay.client.endpoint.access import SUBPROTOCOL
from blindrelay.client.endpoint.admission import Admission, Admitted
from blindrelay.client.endpoint.client_body import ClientGoneError
from blindrelay.client.endpoint.exchange_log import WHOLE, ExchangeLog, LoggedRequest
from blindrelay.client.endpoint.pass_through import FAILED, Started, deliver
from blindrelay.client.endpoint.refusal import as_denial, cause, send_error
from blindrelay.client.endpoint.response_headers import passed_on
from blindrelay.client.endpoint.tasks import side_by_side
from blindrelay.client.errors import BlindRelayError, BridgeError, ProtocolError
from blindrelay.client.store_false import stateless_message
from blindrelay.client.transport import SealedTransport
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.sealing import (
    BINARY,
    CLOSE,
    TEXT,
    TUNNEL_STATUS,
    close_frame,
    close_reason,
    data_frames,
    is_close_code,
)
from blindrelay.v1.inner_pb2 import ErrorCode

MAX_MESSAGE: Final = 16_777_216
"""Bytes of a message, as at the bridge. ASGI does not split messages."""

_NORMAL: Final = 1000
_POLICY_VIOLATION: Final = 1008
_TOO_BIG: Final = 1009
_INTERNAL_ERROR: Final = 1011

_CODES: Final = {
    ErrorCode.ERROR_CODE_MALFORMED: _POLICY_VIOLATION,
    ErrorCode.ERROR_CODE_NOT_ALLOWED: _POLICY_VIOLATION,
    ErrorCode.ERROR_CODE_STORED_OBJECT: _POLICY_VIOLATION,
    ErrorCode.ERROR_CODE_TOO_LARGE: _TOO_BIG,
}

_REASON_SIZE: Final = 123
"""Bytes of a close frame's reason (RFC 6455, section 5.5)."""

_LAST_SECONDS: Final = 5.0
"""How long to wait for the provider's close after the program's."""

_log = logging.getLogger(__name__)


class Tunnels:
    """An ASGI application for scopes of type websocket."""

    def __init__(self, transport: SealedTransport, admission: Admission, exchange_log: ExchangeLog) -> None:
        self._transport = transport
        self._admission = admission
        self._exchange_log = exchange_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one WebSocket. A failure before it is open becomes an HTTP response."""
        started = Started(send)
        with self._admission.running():
            try:
                admitted = self._admission.admit(scope)
                with self._exchange_log.request(admitted.method, admitted.destination.url) as logged:
                    await self._connect(admitted, logged, receive, started)
            except BlindRelayError as error:
                await send_error(error, self._admission.api(scope), as_denial(send))
            except ClientGoneError:
                return
            except Exception as error:  # its message may contain content
                _log.error("the endpoint failed: %s", type(error).__name__)
                if not started.is_started:
                    await send_error(FAILED, self._admission.api(scope), as_denial(send))

    async def _connect(self, admitted: Admitted, logged: LoggedRequest, receive: Receive, send: Send) -> None:
        request = admitted.request()
        try:
            response = await _unless_gone(self._transport.open_tunnel(request), receive)
        except BlindRelayError as error:
            logged.ended(cause(error))
            raise
        if not isinstance(response, SealedTunnel):
            await deliver(response, admitted, logged, as_denial(send))
            return
        logged.responded(TUNNEL_STATUS)
        headers = passed_on(response.headers, admitted.destination.url, admitted.local_url)
        chosen = [value.decode("latin-1") for name, value in headers if name == SUBPROTOCOL]
        await send(
            {
                "type": "websocket.accept",
                "subprotocol": chosen[0] if chosen else None,
                "headers": [each for each in headers if each[0] != SUBPROTOCOL],
            }
        )
        await _OpenTunnel(response, request, self._transport, logged).run(receive, send)


class _OpenTunnel:
    """One open tunnel."""

    def __init__(
        self, tunnel: SealedTunnel, request: httpx.Request, transport: SealedTransport, logged: LoggedRequest
    ) -> None:
        self._tunnel = tunnel
        self._request = request
        self._connection = transport.connection
        self._logged = logged

    async def run(self, receive: Receive, send: Send) -> None:
        """Passes messages until both sides have closed, one has failed, or the program is gone."""
        try:
            async with side_by_side(self._up(receive), self._down(send)) as (up, down):
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
                if not down.done() and not up.result():
                    raise ClientGoneError
                await asyncio.wait((down,), timeout=_LAST_SECONDS)
                if down.done():
                    down.result()
        finally:
            await self._tunnel.aclose()

    async def _up(self, receive: Receive) -> bool:
        """Passes the program's messages on; returns whether the program closed the WebSocket properly."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                # Without a reason, the program did not close the WebSocket: the connection was lost.
                if "reason" not in message:
                    return False
                code = message["code"] if is_close_code(message["code"]) else None
                await self._tunnel.send(close_frame(code, message["reason"] or ""))
                await self._tunnel.end()
                return True
            await self._send(message)

    async def _send(self, message: Message) -> None:
        text = message.get("text")
        data = message["bytes"] if text is None else text.encode()
        self._logged.sent(data)
        self._logged.sent(b"\n")
        if text is None:
            frames = data_frames(BINARY, data)
        else:
            frames = data_frames(TEXT, stateless_message(data, self._request, self._connection))
        for frame in frames:
            await self._tunnel.send(frame)

    async def _down(self, send: Send) -> None:
        try:
            await self._messages(send)
            self._logged.ended(WHOLE)
        except BlindRelayError as error:
            self._logged.ended(cause(error))
            await send({"type": "websocket.close", "code": _code(error), "reason": _reason(error)})

    async def _messages(self, send: Send) -> None:
        message, is_text = bytearray(), False
        while (frame := await self._tunnel.receive()) is not None:
            if frame.opcode == CLOSE:
                code, reason = close_reason(frame)
                await send({"type": "websocket.close", "code": code or _NORMAL, "reason": reason})
                continue
            if len(message) + len(frame.data) > MAX_MESSAGE:
                raise ProtocolError(f"the bridge sent a message of more than {MAX_MESSAGE} bytes")
            message += frame.data
            self._logged.received(frame.data)
            is_text = frame.opcode == TEXT or (is_text and frame.opcode != BINARY)
            if frame.fin:
                self._logged.received(b"\n")
                await send(_message(bytes(message), is_text=is_text))
                message.clear()


def _message(data: bytes, *, is_text: bool) -> Message:
    if not is_text:
        return {"type": "websocket.send", "bytes": data}
    try:
        return {"type": "websocket.send", "text": data.decode()}
    except UnicodeDecodeError:
        raise ProtocolError("the provider sent text that is not UTF-8") from None


async def _unless_gone(dialling: Coroutine[Any, Any, Any], receive: Receive) -> Any:
    """The result of `dialling`. Raises ClientGoneError if the program goes away first."""
    async with side_by_side(dialling, _gone(receive)) as (dial, gone):
        await asyncio.wait((dial, gone), return_when=asyncio.FIRST_COMPLETED)
        if not dial.done():
            raise ClientGoneError
        return dial.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


def _code(error: BlindRelayError) -> int:
    return _CODES.get(error.code, _INTERNAL_ERROR) if isinstance(error, BridgeError) else _INTERNAL_ERROR


def _reason(error: BlindRelayError) -> str:
    return f"{cause(error)}: {error}".encode()[:_REASON_SIZE].decode("utf-8", "ignore")
