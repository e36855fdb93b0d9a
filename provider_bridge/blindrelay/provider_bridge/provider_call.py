"""The call to the provider: one bare httpx transport, so no cookie jar, redirects, proxies or decoding
(spec/protocol.md, sections 11.6 and 11.7).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Final, cast

import httpx

from blindrelay.provider_bridge.header_policy import HeaderError, answer_headers, provider_headers
from blindrelay.provider_bridge.policy import PlannedCall
from blindrelay.provider_bridge.provider_failures import failed, foreign_errors
from blindrelay.provider_bridge.provider_tunnel import Handshake, ProviderTunnel
from blindrelay.sealing import TUNNEL_STATUS
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_H2,
    BODY_END_LENGTH,
    BODY_END_NONE,
    EXECUTION_STARTED,
    EXECUTION_UNKNOWN,
    BodyEnd,
)
from blindrelay.v1.limits import MAX_BODY_PIECE

CONNECT_SECONDS: Final = 10.0
"""For DNS, TCP and TLS together: a provider that takes longer is not there."""

POOL_SECONDS: Final = 5.0
"""To wait for a connection when all are in use."""

MAX_CONNECTIONS: Final = 2_000
MAX_IDLE_CONNECTIONS: Final = 100
IDLE_SECONDS: Final = 30.0
"""An idle connection is kept so long; common servers close theirs after 60 s and more."""

_KEEP_ALIVE_SECONDS: Final = 60
"""A model may think for an hour, and what forwards TCP on the way forgets quiet connections in minutes."""

_TIMEOUT: Final = {"connect": CONNECT_SECONDS, "pool": POOL_SECONDS, "read": None, "write": None}
_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})


class ProviderAnswer:
    """An answer whose head has arrived. It holds a connection until it is closed.

    Attributes:
        status: 200 to 599.
        headers: those that go back to the client.
        body_end: how the provider marks the end of the body.
    """

    def __init__(
        self, response: httpx.Response, headers: list[Header], end: BodyEnd.ValueType, *, close_allowed: bool
    ) -> None:
        self._response = response
        self._close_allowed = close_allowed
        self.status = response.status_code
        self.headers = headers
        self.body_end = end

    @property
    def is_event_stream(self) -> bool:
        """Whether every piece is awaited by somebody."""
        return any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in self.headers
        )

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body's bytes as they come, at most 64 KiB each.

        Raises ProviderError unless the body ends as it was announced.
        """
        with foreign_errors(EXECUTION_STARTED, "the provider broke off in the middle of its answer"):
            # The transport's own stream: httpx.Response adds nothing to it that is wanted here.
            async for data in cast(httpx.AsyncByteStream, self._response.stream):
                for start in range(0, len(data), MAX_BODY_PIECE):
                    yield data[start : start + MAX_BODY_PIECE]
        if self.body_end == BODY_END_CLOSE and not self._close_allowed:
            raise failed(
                "the provider ended its answer by closing the connection, so nobody knows if it is whole "
                "(the bridge's allow_close_delimited would accept that)"
            )

    async def aclose(self) -> None:
        """Closes the connection at once unless the answer has been read to its end."""
        await self._response.aclose()


class ProviderTransport:
    """Makes the calls of one bridge process."""

    def __init__(self, verify: ssl.SSLContext | bool = True) -> None:
        self._transport = httpx.AsyncHTTPTransport(
            verify=verify,
            trust_env=False,
            http1=True,
            http2=False,
            retries=0,
            socket_options=_kept_alive(),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_IDLE_CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
            ),
        )

    async def call(self, call: PlannedCall, body: bytearray) -> ProviderAnswer:
        """Sends a request and waits for the answer's head. Raises ProviderError."""
        response = await self._send(_request(call, body))
        try:
            return _answer(call, response)
        except BaseException:
            await response.aclose()
            raise

    async def dial(self, call: PlannedCall) -> ProviderTunnel | ProviderAnswer:
        """Opens a tunnel, unless the provider gives an ordinary answer. Raises ProviderError."""
        handshake = Handshake(call.headers, brought=not call.injected)
        response = await self._send(_request(call, bytearray(), handshake.headers))
        try:
            if response.status_code != TUNNEL_STATUS:
                return _answer(call, response)
            return handshake.open(response)
        except BaseException:
            await response.aclose()
            raise

    async def _send(self, request: httpx.Request) -> httpx.Response:
        with foreign_errors(EXECUTION_UNKNOWN, "the provider closed the connection without an answer"):
            return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._transport.aclose()


def body_end(method: str, version: bytes, status: int, headers: list[Header]) -> BodyEnd.ValueType:
    """How an answer's body ends (RFC 9112, section 6.3; RFC 9113, section 8.1)."""
    names = {name.lower() for name, _ in headers}
    if method == "HEAD" or status in (204, 304):
        return BODY_END_NONE
    if version == b"HTTP/2":
        return BODY_END_H2
    if b"transfer-encoding" in names:
        return BODY_END_CHUNKED
    return BODY_END_LENGTH if b"content-length" in names else BODY_END_CLOSE


def _kept_alive() -> list[tuple[int, int, int]]:
    """Socket options: probes of TCP's on a quiet connection, of which neither side's program hears."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # Linux and others call the time before the first probe TCP_KEEPIDLE, and macOS TCP_KEEPALIVE.
    for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE", "TCP_KEEPINTVL"):
        if (option := getattr(socket, name, None)) is not None:
            options.append((socket.IPPROTO_TCP, option, _KEEP_ALIVE_SECONDS))
    return options


class _BodyStream(httpx.AsyncByteStream):
    """A request's body in pieces that are copied one at a time, on their way into the socket."""

    def __init__(self, body: bytearray) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), MAX_BODY_PIECE):
            # The view is let go before the piece leaves: a body that is being looked at cannot be emptied.
            with memoryview(self._body) as view:
                piece = bytes(view[start : start + MAX_BODY_PIECE])
            yield piece


def _request(call: PlannedCall, body: bytearray, upgrade: Iterable[Header] = ()) -> httpx.Request:
    provider = call.provider
    has_body = bool(body) or call.method in _BODY_METHODS
    return httpx.Request(
        call.method,
        str(provider.target),
        headers=[
            *provider_headers(
                provider.target.authority,
                call.headers,
                provider.credential if call.injected else None,
                len(body) if has_body else None,
            ),
            *upgrade,
        ],
        stream=_BodyStream(body),
        # The exact bytes: httpx would normalise a path that it parses.
        extensions={"timeout": dict(_TIMEOUT), "target": call.url.target},
    )


def _answer(call: PlannedCall, response: httpx.Response) -> ProviderAnswer:
    if not 200 <= response.status_code <= 599:
        raise failed("the provider answered with a status that is none")
    received = response.headers.raw
    version = response.extensions.get("http_version", b"HTTP/1.1")
    end = body_end(call.method, version, response.status_code, received)
    try:
        headers = answer_headers(
            received,
            chunked=end == BODY_END_CHUNKED,
            brought=not call.injected,
            status=response.status_code,
        )
    except HeaderError as error:
        raise failed(f"the provider's answer is refused: {error}") from None
    return ProviderAnswer(response, headers, end, close_allowed=call.provider.allow_close_delimited)
