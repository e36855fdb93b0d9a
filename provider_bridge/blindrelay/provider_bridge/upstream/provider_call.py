"""The call to the provider, and its response (spec/protocol.md, sections 11.6 and 11.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

import h11

from blindrelay.provider_bridge.credentials import Secret
from blindrelay.provider_bridge.errors import ProviderError, bad_response
from blindrelay.provider_bridge.policy.headers import HeaderError, provider_headers, response_headers
from blindrelay.provider_bridge.policy.request_policy import PlannedCall
from blindrelay.provider_bridge.providers import Provider
from blindrelay.provider_bridge.upstream.connection import Head
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.provider_tunnel import Handshake, ProviderTunnel
from blindrelay.provider_bridge.upstream.route import route_to
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
    ResponseTail,
)

BEGINNING: Final = 4_096
"""Bytes of a body that are looked at before it is passed on."""

_BODY_METHODS: Final = frozenset({"PATCH", "POST", "PUT"})


class Body(Protocol):
    """The body of a response, read only on request (upstream/transport.py)."""

    @property
    def ended(self) -> bool: ...

    def take(self, size: int) -> bytes: ...

    async def arrival(self, timeout: float | None) -> bool: ...

    def close(self) -> None: ...


class Watch(Protocol):
    """Sees a response's body pass, and says what its end carries."""

    @property
    def held(self) -> int:
        """Bytes of what has been taken that do not pass yet."""

    def take(self, data: bytes) -> bytes:
        """The bytes that pass now that these have come."""

    def rest(self) -> bytes:
        """What is held: nothing follows."""

    def tail(self, body_end: BodyEnd.ValueType) -> ResponseTail:
        """The end of a complete response."""


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
        body: Body,
        end: BodyEnd.ValueType,
        *,
        close_allowed: bool,
    ) -> None:
        """With `close_allowed`, a body that ends with its connection is complete."""
        self.status = status
        self.headers = headers
        self.body_end = end
        self._body = body
        self._seen = b""
        self._may_end = close_allowed or end != BODY_END_CLOSE
        self._watch: Watch | None = None

    def watched_by(self, watch: Watch) -> None:
        """Lets the body pass by `watch` from now on."""
        self._watch = watch

    def tail(self) -> ResponseTail:
        """What ends the response, once its whole body has been taken."""
        if self._watch is None:
            return ResponseTail(body_end=self.body_end)
        return self._watch.tail(self.body_end)

    @property
    def is_event_stream(self) -> bool:
        """Whether somebody reads the body as it arrives."""
        return self.has_type(b"text/event-stream")

    def has_type(self, content_type: bytes) -> bool:
        """Whether the body is of this type, in lower case, whatever its parameters."""
        return any(
            name == b"content-type" and value.lower().startswith(content_type) for name, value in self.headers
        )

    @property
    def ended(self) -> bool:
        """Whether the whole body has been taken, and is complete."""
        return self._body.ended and self._may_end and not self._seen

    async def beginning(self, timeout: float) -> bytes:
        """What arrives of the body within `timeout` seconds, at most 4,096 bytes. take() gives it again."""
        if not self._seen and await self._body.arrival(timeout):
            with suppress(UpstreamError):  # take() raises it again
                self._seen = self._body.take(BEGINNING)
        return self._seen

    def take(self, size: int) -> bytes:
        """At most `size` bytes of what has arrived of the body; none if nothing has.

        Raises ProviderError once all that arrived has been taken, unless the body ends as announced.
        """
        try:
            body = self._passed(size)
        except UpstreamError as error:
            if self._watch is not None and self._watch.held:
                return self._watch.rest()
            raise ProviderError(error.failure, str(error), EXECUTION_STARTED) from None
        if not body and self._body.ended and not self._may_end:
            raise ProviderError(
                Failure.CUT,
                "the provider ended its response by closing the connection, so it may be incomplete "
                "(the bridge's allow_close_delimited would accept that)",
                EXECUTION_STARTED,
            )
        return body

    def _passed(self, size: int) -> bytes:
        if self._watch is None:
            return self._taken(size)
        passed = self._watch.take(self._taken(max(0, size - self._watch.held)))
        return passed + self._watch.rest() if self._body.ended and not self._seen else passed

    def _taken(self, size: int) -> bytes:
        if not self._seen:
            return self._body.take(size)
        seen, self._seen = self._seen[:size], self._seen[size:]
        return seen

    async def arrival(self, timeout: float | None) -> bool:
        """Waits until take() may return something or raise; false after `timeout` seconds."""
        return bool(self._seen) or await self._body.arrival(timeout)

    async def aclose(self) -> None:
        """Closes the connection at once unless the response has been read to its end."""
        self._body.close()


class ProviderTransport:
    """Makes the calls of one bridge process.

    `on_problem` is told when a credential or CA file becomes unusable.
    """

    def __init__(self, providers: Iterable[Provider], on_problem: OnProblem = lambda _: None) -> None:
        """Raises ConfigError for a file that is missing or wrong."""
        self._upstreams: dict[str, UpstreamTransport] = {}
        self._secrets: dict[Secret, Callable[[], bytes]] = {}
        for provider in providers:
            self._upstreams[provider.name] = UpstreamTransport(route_to(provider, on_problem))
            for secret in provider.secrets:
                self._secrets[secret] = secret.followed(on_problem)

    async def call(self, call: PlannedCall, body: bytearray) -> ProviderResponse:
        """Sends a request and waits for the response's head. Raises ProviderError."""
        head, response = await self._send(call, body)
        try:
            return _response(call, head, response)
        except BaseException:
            response.close()
            raise

    async def reach(self, provider: str) -> None:
        """Makes a connection, or finds one, and sends nothing. Raises ProviderError."""
        pool = self._upstreams[provider].pool
        with _as_provider_errors():
            pool.give_back(await pool.lease())

    async def dial(self, call: PlannedCall) -> ProviderTunnel | ProviderResponse:
        """Opens a tunnel, unless the provider gives an ordinary response. Raises ProviderError."""
        handshake = Handshake(call.headers, brought=not call.injected)
        head, response = await self._send(call, bytearray(), handshake.headers)
        try:
            if head.status_code != TUNNEL_STATUS:
                return _response(call, head, response)
            return handshake.open(head, response)
        except BaseException:
            response.close()
            raise

    async def _send(
        self, call: PlannedCall, body: bytearray, upgrade: Iterable[Header] = ()
    ) -> tuple[Head, ResponseBody]:
        name, authority = call.provider.name, call.provider.target.authority
        chosen = call.credential
        credential = None if chosen is None else chosen.header(self._secrets[chosen.secret]())
        size = len(body) if body or call.method in _BODY_METHODS else None
        headers = [*provider_headers(authority, call.headers, credential, size), *upgrade]
        request = h11.Request(method=call.method, target=call.url.target, headers=headers)
        with _as_provider_errors():
            return await self._upstreams[name].send(request, body)

    async def aclose(self) -> None:
        """Closes every connection."""
        for upstream in self._upstreams.values():
            upstream.close()


@contextmanager
def _as_provider_errors() -> Iterator[None]:
    try:
        yield
    except UpstreamError as error:
        execution = EXECUTION_UNKNOWN if error.sent else EXECUTION_NOT_STARTED
        raise ProviderError(error.failure, str(error), execution) from None


def body_end(method: str, status: int, headers: list[Header]) -> BodyEnd.ValueType:
    """How the body of an HTTP/1.1 response ends (RFC 9112, section 6.3)."""
    names = {name.lower() for name, _ in headers}
    if method == "HEAD" or status in (204, 304):
        return BODY_END_NONE
    if b"transfer-encoding" in names:
        return BODY_END_CHUNKED
    return BODY_END_LENGTH if b"content-length" in names else BODY_END_CLOSE


def _response(call: PlannedCall, head: Head, body: ResponseBody) -> ProviderResponse:
    status, received = head.status_code, list(head.headers)
    if not 200 <= status <= 599:
        raise bad_response("the provider sent an invalid status code")
    end = body_end(call.method, status, received)
    chunked = end == BODY_END_CHUNKED
    try:
        headers = response_headers(received, chunked=chunked, brought=not call.injected, status=status)
    except HeaderError as error:
        raise bad_response(f"the provider's response is refused: {error}") from None
    close_allowed = call.provider.allow_close_delimited
    return ProviderResponse(status, headers, body, end, close_allowed=close_allowed)
