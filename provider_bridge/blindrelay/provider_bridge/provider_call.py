"""The call to the provider: one bare httpx transport, so no cookie jar, redirects, proxies or decoding
(spec/protocol.md, section 11.6).

Whatever httpx raises becomes a ProviderError here and nowhere else.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final, cast

import httpx

from blindrelay.provider_bridge.errors import ProviderError
from blindrelay.provider_bridge.header_policy import Header, HeaderError, answer_headers, provider_headers
from blindrelay.provider_bridge.policy import PlannedCall
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_H2,
    BODY_END_LENGTH,
    BODY_END_NONE,
    ERROR_CODE_OVERLOADED,
    ERROR_CODE_PROVIDER_FAILED,
    ERROR_CODE_PROVIDER_UNREACHABLE,
    EXECUTION_NOT_STARTED,
    EXECUTION_STARTED,
    EXECUTION_UNKNOWN,
    BodyEnd,
    Execution,
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
        with _foreign_errors(EXECUTION_STARTED, "the provider broke off in the middle of its answer"):
            # The transport's own stream: httpx.Response adds nothing to it that is wanted here.
            async for data in cast(httpx.AsyncByteStream, self._response.stream):
                for start in range(0, len(data), MAX_BODY_PIECE):
                    yield data[start : start + MAX_BODY_PIECE]
        if self.body_end == BODY_END_CLOSE and not self._close_allowed:
            raise ProviderError(
                ERROR_CODE_PROVIDER_FAILED,
                "the provider ended its answer by closing the connection, so nobody knows if it is whole "
                "(the bridge's allow_close_delimited would accept that)",
                EXECUTION_STARTED,
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
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS,
                max_keepalive_connections=MAX_IDLE_CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
            ),
        )

    async def call(self, call: PlannedCall, body: bytearray) -> ProviderAnswer:
        """Sends a request and waits for the answer's head. Raises ProviderError."""
        with _foreign_errors(EXECUTION_UNKNOWN, "the provider closed the connection without an answer"):
            response = await self._transport.handle_async_request(_request(call, body))
        try:
            return _answer(call, response)
        except BaseException:
            await response.aclose()
            raise

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


def _request(call: PlannedCall, body: bytearray) -> httpx.Request:
    provider = call.provider
    has_body = bool(body) or call.method in _BODY_METHODS
    return httpx.Request(
        call.method,
        str(provider.target),
        headers=provider_headers(
            provider.target.authority,
            call.headers,
            provider.credential if call.injected else None,
            len(body) if has_body else None,
        ),
        stream=_BodyStream(body),
        # The exact bytes: httpx would normalise a path that it parses.
        extensions={"timeout": dict(_TIMEOUT), "target": call.url.target},
    )


def _answer(call: PlannedCall, response: httpx.Response) -> ProviderAnswer:
    if not 200 <= response.status_code <= 599:
        raise _failed("the provider answered with a status that is none", EXECUTION_STARTED)
    received = response.headers.raw
    version = response.extensions.get("http_version", b"HTTP/1.1")
    end = body_end(call.method, version, response.status_code, received)
    try:
        headers = answer_headers(received, chunked=end == BODY_END_CHUNKED)
    except HeaderError as error:
        raise _failed(f"the provider's answer is refused: {error}", EXECUTION_STARTED) from None
    return ProviderAnswer(response, headers, end, close_allowed=call.provider.allow_close_delimited)


@contextmanager
def _foreign_errors(execution: Execution.ValueType, otherwise: str) -> Iterator[None]:
    """The one edge where another library's exceptions become ours.

    Only where no connection was made it is certain that nothing was started.
    """
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise ProviderError(
            ERROR_CODE_PROVIDER_UNREACHABLE, "the provider could not be reached", EXECUTION_NOT_STARTED
        ) from None
    except httpx.PoolTimeout:
        raise ProviderError(
            ERROR_CODE_OVERLOADED, "all of the bridge's connections are in use", EXECUTION_NOT_STARTED
        ) from None
    except (httpx.HTTPError, OSError):
        raise _failed(otherwise, execution) from None


def _failed(message: str, execution: Execution.ValueType) -> ProviderError:
    return ProviderError(ERROR_CODE_PROVIDER_FAILED, message, execution)
