"""A response's body as httpx or httpx2 streams it: complete, or ended by an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Self

from blindrelay.client.error_mapping import raised_in_body
from blindrelay.client.errors import BlindRelayError, ClosedError
from blindrelay.client.httpx_compat import Request, library_of
from blindrelay.client.portal import Portal
from blindrelay.client.sealed_stream import SealedStream

Run = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Runs a coroutine of the stream: in this event loop, or in a portal's."""


def here(work: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
    """A Run in this event loop."""
    return work


class _SyncBody:
    def __init__(self, request: Request, stream: SealedStream, portal: Portal) -> None:
        self._request = request
        self._stream = stream
        self._portal = portal

    def __iter__(self) -> Iterator[bytes]:
        try:
            while (piece := self._next()) is not None:
                yield piece
        except BlindRelayError as error:
            raise raised_in_body(error, self._request) from None

    def _next(self) -> bytes | None:
        # A short body came with the head, and is complete. Then the portal need not be woken again.
        piece = self._stream.arrived()
        if piece or self._stream.ended:
            return piece or None
        return self._portal.call(self._stream.body())

    def close(self) -> None:
        if self._stream.ended:
            return
        with suppress(ClosedError):  # the client was closed, and the stream with it
            self._portal.call(self._stream.aclose())


class _AsyncBody:
    def __init__(self, request: Request, stream: SealedStream, run: Run, run_to_end: Run) -> None:
        self._request = request
        self._stream = stream
        self._run = run
        self._run_to_end = run_to_end

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece: bytes | None = await self._run(self._stream.body())
        except BlindRelayError as error:
            raise raised_in_body(error, self._request) from None
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        with suppress(ClosedError):
            await self._run_to_end(self._stream.aclose())


def sync_body(request: Request, stream: SealedStream, portal: Portal) -> Any:
    """The body for a synchronous client of the request's library."""
    return _with_base(_SyncBody, library_of(request).SyncByteStream)(request, stream, portal)


def async_body(request: Request, stream: SealedStream, run: Run = here, run_to_end: Run = here) -> Any:
    """The body for an asynchronous client of the request's library. `run_to_end` must not be cancelled."""
    kind = _with_base(_AsyncBody, library_of(request).AsyncByteStream)
    return kind(request, stream, run, run_to_end)


@cache
def _with_base(body: type, base: type) -> type:
    # The libraries require their own base class.
    return type(body.__name__, (body, base), {})
