"""Sends a response in cells, by a clock that its content does not move (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from blindrelay.provider_bridge.grid import Grid
from blindrelay.provider_bridge.response_stream import Send, response_head
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.sealing import CellSealer
from blindrelay.v1.inner_pb2 import ResponsePart, ResponseTail
from blindrelay.v1.limits import MAX_BODY_PIECE

Fill = Callable[[CellSealer], None]
"""Is called before each cell, to add what there is for it."""


class Pacer:
    """Sends one cell at each point of a grid, which began when the request was accepted."""

    def __init__(self, cells: CellSealer, send: Send, ticks: Grid) -> None:
        self.cells = cells
        self._send = send
        self._ticks = ticks

    async def run(self, fill: Fill = lambda _: None) -> None:
        """Until the last cell has been sent. Raises what `fill` raises; run() can then go on."""
        while not self.cells.finished:
            await self._ticks.wait()
            fill(self.cells)
            await self._send([self.cells.cell()])


class CellSource:
    """Fills cells from a provider's response, which may not have begun yet.

    The provider's connection is read once for each cell, so whatever arrives in between costs nothing.
    """

    def __init__(self, response: asyncio.Future[ProviderResponse], on_response: Callable[[], None]) -> None:
        self._coming = response
        self._on_response = on_response
        self._response: ProviderResponse | None = None

    def fill(self, cells: CellSealer) -> None:
        """Adds what has arrived. Raises ProviderError."""
        if cells.ended or (self._response is None and not self._coming.done()):
            return
        if self._response is None:
            self._response = self._coming.result()
            self._on_response()
            cells.add(ResponsePart(head=response_head(self._response)))
        if cells.has_room:
            body = self._response.take(MAX_BODY_PIECE)
            tail = ResponseTail(body_end=self._response.body_end) if self._response.ended else None
            if body or tail:
                cells.add(ResponsePart(body=body or None, tail=tail))

    async def aclose(self) -> None:
        """Closes the provider's connection at once, unless the response has been read to its end."""
        if not self._coming.done():
            self._coming.cancel()
            await asyncio.wait([self._coming])
        elif not self._coming.cancelled() and self._coming.exception() is None:
            await self._coming.result().aclose()
