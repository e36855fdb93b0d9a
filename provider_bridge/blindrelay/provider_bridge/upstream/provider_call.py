"""The call to the provider, and its response (spec/protocol.md, sections 11.6 and 11.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, cast

import httpx

from blindrelay.provider_bridge.errors import ProviderError, bad_response
from blindrelay.provider_bridge.policy.headers import HeaderError, provider_headers, response_headers
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.provider_tunnel import Handshake, ProviderTunnel
from blindrelay.provider_bridge.upstream.routes import route_to
from blindrelay.provider_bridge.upstream.transport import ResponseBody, UpstreamTransport
from blindrelay.sealing import TUNNEL_STATUS
from blindrelay.serving.tls import OnProblem
from blindrelay.v1.http_headers import Header
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_LENGTH,
    BODY_END_NONE,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    EXECUTION_UNKNOWN,
    BodyEnd,
)
from blindrelay.v1.limits import MAX_BODY_PIECE

_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})


class ProviderResponse:
    """A response whose head has arrived. It holds a connection until it is closed.

    Attributes:
        status: 200 to 599.
        headers: those that go back to the client.
        body_end: how the provider marks the end of the body.
    """

    def __init__(
        self,
        status: int,
        headers: list[Header],
        body: ResponseBody,
        end: BodyEnd.ValueType,
        *,
        close_allowed: bool,
    ) -> None:
        """With `close_allowed` a body that ends with its connection is whole."""
        self.status = status
        self.headers = headers
        self.body_end = end
        self._body = body
        self._may_end = close_allowed or end != BODY_END_CLOSE

    @property
    def is_event_stream(self) -> bool:
        """Whether every piece is awaited by somebody."""
        return any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in self.headers
        )

    @property
    def ended(self) -> bool:
        """Whether the whole body has been taken, and is whole."""
        return self._body.ended and self._may_end

    def take(self, room: int) -> bytes:
        """What has arrived of the body, at most `room` bytes; none if nothing has.

        Raises ProviderError, after what came before it has been taken, unless the body ends as announced.
        """
        try:
            taken = self._body.take(room)
        except UpstreamError as error:
            raise ProviderError(error.failure, str(error), EXECUTION_STARTED) from None
        if not taken and self._body.ended and not self._may_end:
            raise ProviderError(
                Failure.CUT,
                "the provider ended its response by closing the connection, so nobody knows if it is whole "
                "(the bridge's allow_close_delimited would accept that)",
                EXECUTION_STARTED,
            )
        return taken

    async def arrival(self, timeout: float | None) -> bool:
        """Waits until take() has something to say; false after `timeout` seconds without."""
        return await self._body.arrival(timeout)

    async def aclose(self) -> None:
        """Closes the connection at once unless the response has been read to its end."""
        self._body.close()


class ProviderTransport:
    """Makes the calls of one bridge process.

    `on_problem` is told of credential and CA files that became unusable.
    """

    def __init__(self, providers: Iterable[Provider], on_problem: OnProblem = lambda _: None) -> None:
        """Raises ConfigError for a file that is missing or wrong."""
        self._upstreams: dict[str, UpstreamTransport] = {}
        self._credentials: dict[str, Callable[[], Header]] = {}
        for provider in providers:
            self._upstreams[provider.name] = UpstreamTransport(route_to(provider, on_problem))
            if provider.credential is not None:
                self._credentials[provider.name] = provider.credential.followed(on_problem)

    async def call(self, call: PlannedCall, body: bytearray) -> ProviderResponse:
        """Sends a request and waits for the response's head. Raises ProviderError."""
        response = await self._send(call, body)
        try:
            return _response(call, response)
        except BaseException:
            await response.aclose()
            raise

    async def dial(self, call: PlannedCall) -> ProviderTunnel | ProviderResponse:
        """Opens a tunnel, unless the provider gives an ordinary response. Raises ProviderError."""
        handshake = Handshake(call.headers, brought=not call.injected)
        response = await self._send(call, bytearray(), handshake.headers)
        try:
            if response.status_code != TUNNEL_STATUS:
                return _response(call, response)
            return handshake.open(response)
        except BaseException:
            await response.aclose()
            raise

    async def _send(
        self, call: PlannedCall, body: bytearray, upgrade: Iterable[Header] = ()
    ) -> httpx.Response:
        name = call.provider.name
        credential = self._credentials.get(name) if call.injected else None
        request = _request(call, body, None if credential is None else credential(), upgrade)
        try:
            return await self._upstreams[name].handle_async_request(request)
        except UpstreamError as error:
            execution = EXECUTION_UNKNOWN if error.sent else EXECUTION_NOT_STARTED
            raise ProviderError(error.failure, str(error), execution) from None

    async def aclose(self) -> None:
        """Closes every connection."""
        for upstream in self._upstreams.values():
            await upstream.aclose()


def body_end(method: str, status: int, headers: list[Header]) -> BodyEnd.ValueType:
    """How the body of an HTTP/1.1 response ends (RFC 9112, section 6.3)."""
    names = {name.lower() for name, _ in headers}
    if method == "HEAD" or status in (204, 304):
        return BODY_END_NONE
    if b"transfer-encoding" in names:
        return BODY_END_CHUNKED
    return BODY_END_LENGTH if b"content-length" in names else BODY_END_CLOSE


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


def _request(
    call: PlannedCall, body: bytearray, credential: Header | None, upgrade: Iterable[Header]
) -> httpx.Request:
    provider = call.provider
    has_body = bool(body) or call.method in _BODY_METHODS
    return httpx.Request(
        call.method,
        str(provider.target),
        headers=[
            *provider_headers(
                provider.target.authority,
                call.headers,
                credential,
                len(body) if has_body else None,
            ),
            *upgrade,
        ],
        stream=_BodyStream(body),
        # The exact bytes: httpx would normalise a path that it parses.
        extensions={"target": call.url.target},
    )


def _response(call: PlannedCall, response: httpx.Response) -> ProviderResponse:
    if not 200 <= response.status_code <= 599:
        raise bad_response("the provider sent an invalid status code")
    received = response.headers.raw
    end = body_end(call.method, response.status_code, received)
    try:
        headers = response_headers(
            received,
            chunked=end == BODY_END_CHUNKED,
            brought=not call.injected,
            status=response.status_code,
        )
    except HeaderError as error:
        raise bad_response(f"the provider's response is refused: {error}") from None
    return ProviderResponse(
        *(response.status_code, headers, cast(ResponseBody, response.stream), end),
        close_allowed=call.provider.allow_close_delimited,
    )
