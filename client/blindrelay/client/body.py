"""A response's body as the request's library streams it: piece by piece, complete or an error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

from blindrelay.client.error_mapping import raised_in_body
from blindrelay.client.errors import BlindRelayError, ClosedError
from blindrelay.client.httpx_compat import Request, library_of
from blindrelay.client.portal import Portal
from blindrelay.client.sealed_call import SealedCall

Run = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
"""Runs what waits for the network: in this event loop, or in a portal's."""


async def here(work: Coroutine[Any, Any, Any]) -> Any:
    """A Run, in this event loop."""
    return await work


class _SyncBody:
    def __init__(self, request: Request, exchange: SealedCall, portal: Portal) -> None:
        self._request = request
        self._exchange = exchange
        self._portal = portal

    def __iter__(self) -> Iterator[bytes]:
        try:
            while (piece := self._portal.call(self._exchange.body())) is not None:
                yield piece
        except BlindRelayError as error:
            raise raised_in_body(error, self._request) from None

    def close(self) -> None:
        with suppress(ClosedError):  # the exchange has ended with its client
            self._portal.call(self._exchange.aclose())


class _AsyncBody:
    def __init__(self, request: Request, exchange: SealedCall, run: Run, run_to_end: Run) -> None:
        self._request = request
        self._exchange = exchange
        self._run = run
        self._run_to_end = run_to_end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (piece := await self._run(self._exchange.body())) is not None:
                yield piece
        except BlindRelayError as error:
            raise raised_in_body(error, self._request) from None

    async def aclose(self) -> None:
        with suppress(ClosedError):
            await self._run_to_end(self._exchange.aclose())


def sync_body(request: Request, exchange: SealedCall, portal: Portal) -> Any:
    """The body for a synchronous client of the request's library."""
    return _as_stream_of(_SyncBody, library_of(request).SyncByteStream)(request, exchange, portal)


def async_body(request: Request, exchange: SealedCall, run: Run = here, run_to_end: Run = here) -> Any:
    """The body for an asynchronous client of the request's library. Cancelling must not stop `run_to_end`."""
    kind = _as_stream_of(_AsyncBody, library_of(request).AsyncByteStream)
    return kind(request, exchange, run, run_to_end)


@cache
def _as_stream_of(body: type, stream: type) -> type:
    # The libraries check that a body is of their own class.
    return type(body.__name__, (body, stream), {})
