"""uvicorn's HTTP/1.1 protocol, with limits on unfinished requests, and our mark on refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.admission import MAX_REQUESTS
from blindrelay.client.endpoint.refusal import RefusedError, error_response
from blindrelay.client.endpoint.request_target import Unsealed
from blindrelay.client.provider_apis import Api

MAX_CONNECTIONS: Final = 2 * MAX_REQUESTS
"""Programs keep idle ones open. These and the sockets to the relay fit the usual limit of 1,024 files."""

MAX_HEADER_BYTES: Final = 65_536

HEAD_SECONDS: Final = 20.0
"""The time for a request's head, from the start of the connection or from the head's first byte."""

_FIRST_PROBE_SECONDS: Final = 0.25
_PROBE_SECONDS: Final = 2.0
"""When and how often to probe a program that has ended its side: does it still read?"""

_CONTINUE: Final = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
_TWO_LENGTHS: Final = {b"content-length", b"transfer-encoding"}
"""A server in front may use the other length, and read a request in the body (RFC 9112, section 11.2)."""

_TUNNELLED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Door:
    """What all connections share. `waiting` has those that wait for a request's head, oldest first."""

    def __init__(self, access: Access, unsealed: Unsealed) -> None:
        self.access = access
        self.unsealed = unsealed
        self.waiting: dict[EndpointProtocol, None] = {}

    def protocol(self, **options: Any) -> EndpointProtocol:
        """The protocol for a new connection; uvicorn calls this."""
        return EndpointProtocol(self, options)


class EndpointProtocol(H11Protocol):
    """One connection. It answers CONNECT itself, so that programs can use the endpoint as their proxy."""

    def __init__(self, door: Door, options: dict[str, Any], *, tunnelled: bool = False) -> None:
        super().__init__(**options)
        self._door = door
        self._options = options
        self._tunnelled = tunnelled
        self._head_timer: asyncio.TimerHandle | None = None
        self.conn = _Connection(self._connect)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._await_head()
        else:
            self._head_is_there()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self._door.waiting[self] = None

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A program that ends its side after its whole request still gets the response."""
        if not self._has_whole_request():
            return None
        self.cycle.keep_alive = False
        self._probe(_FIRST_PROBE_SECONDS)
        return True

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(RefusedError(400, "request", "this is not a valid HTTP/1.1 request"))
        else:
            self.transport.close()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers])
        response = ServerProtocol().accept(Request(event.target.decode("ascii"), headers))
        if event.method == b"GET" and response.status_code == 101:
            super().handle_websocket_upgrade(event)
        else:
            self._refuse(RefusedError(400, "request", "this is not a valid WebSocket handshake"))

    def _connect(self, target: str) -> None:
        """Answers CONNECT: accepts the endpoint itself as target, and refuses all others."""
        if not self._door.access.is_ours(target):
            self._refuse(self._door.unsealed.refusal(target))
            return
        if self._tunnelled:
            # Nested tunnels would exhaust the stack: one packet can hold thousands.
            self._refuse(RefusedError(400, "request", "this connection already leads to the endpoint"))
            return
        after, _ = self.conn.trailing_data
        self._head_is_there()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self.transport.write(_TUNNELLED)
        inner = EndpointProtocol(self._door, self._options, tunnelled=True)
        self.transport.set_protocol(inner)
        inner.connection_made(self.transport)
        if after:
            inner.data_received(after)

    def _refuse(self, error: RefusedError) -> None:
        """Sends the error, with its message as the reason phrase, and closes the connection."""
        status, headers, body = error_response(error, Api(None, ""))
        response = h11.Response(
            status_code=status, headers=[*headers, (b"connection", b"close")], reason=str(error).encode()
        )
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_head(self) -> None:
        self._door.waiting.setdefault(self)
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_there(self) -> None:
        self._door.waiting.pop(self, None)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            self._refuse(
                RefusedError(
                    408, "timeout", f"the request's head did not arrive within {HEAD_SECONDS:g} seconds"
                )
            )
        else:
            self.transport.close()

    def _make_room(self) -> None:
        """Ends the connection that has waited longest for a request, or this one if none waits."""
        longest = next(iter(self._door.waiting), None)
        if longest is None:
            error = RefusedError(503, "busy", f"{MAX_CONNECTIONS} connections are in use", retry=True)
            self._refuse(error)
        else:
            self._door.waiting.pop(longest)
            longest.transport.close()

    def _has_whole_request(self) -> bool:
        cycle = self.cycle
        is_whole = cycle is not None and not cycle.more_body and not cycle.response_started
        return is_whole and self.scope["http_version"] == "1.1"

    def _probe(self, seconds: float) -> None:
        """Sends 100 Continue, which a program that only reads ignores (RFC 9110, section 15.2).

        If the program is gone, the connection is reset, and the next probe ends it.
        """
        if not self.transport.is_closing() and self._has_whole_request():
            self.transport.write(self.conn.send(_CONTINUE) or b"")
            self.loop.call_later(seconds, self._probe, _PROBE_SECONDS)


class _Connection(h11.Connection):
    """An h11 connection that reports CONNECT through a callback, and rejects bodies with two lengths."""

    def __init__(self, connect: Callable[[str], None]) -> None:
        super().__init__(h11.SERVER, MAX_HEADER_BYTES)
        self._connect = connect

    def next_event(self) -> Any:
        event = super().next_event()
        if not isinstance(event, h11.Request):
            return event
        if {name for name, _ in event.headers} >= _TWO_LENGTHS:
            raise h11.RemoteProtocolError("a body with two lengths")
        if event.method == b"CONNECT":
            self._connect(event.target.decode("ascii"))
            return h11.NEED_DATA
        return event
