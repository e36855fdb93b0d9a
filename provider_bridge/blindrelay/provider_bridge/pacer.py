"""Sends a response in cells, by a clock that its content does not move (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from blindrelay.provider_bridge.response_stream import Send, response_head
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.sealing import CellSealer
from blindrelay.v1.grid import Grid, until
from blindrelay.v1.inner_pb2 import ResponsePart
from blindrelay.v1.limits import MAX_BODY_PIECE

Fill = Callable[[CellSealer], None]
"""Called before each cell, to add what has arrived for it."""


Arrived = Callable[[], ProviderResponse | None]


class Pacer:
    """Sends one cell at each tick from now on: make it when the request has been accepted.

    A cell is made shortly before its tick, so that one with much in it leaves no later than an empty one.
    """

    def __init__(self, cells: CellSealer, send: Send) -> None:
        self.cells = cells
        self._send = send
        self._ticks = Grid(cells.shape.tick, aligned=True)
        self._tick: float | None = None
        self._made: bytes | None = None
        self._end_has_left = False

    async def run(self, fill: Fill) -> None:
        """Sends cells until the response's end is added; the cell of that tick is due then.

        Raises what `fill` raises. Then, too, a cell is due.
        """
        while not self.cells.ended:
            if self._tick is not None:
                await self._send_cell()
            self._tick = await self._ticks.ahead()
            fill(self.cells)

    async def send_end(self) -> None:
        """Sends the cells up to the one with the response's end, which has been added."""
        while not self._end_has_left:
            await self._send_cell()

    async def finish(self) -> None:
        """Sends the rest of the cells, from one that was made or is due."""
        while self._made is not None or not self.cells.finished:
            await self._send_cell()

    async def _send_cell(self) -> None:
        self._tick = self._tick or await self._ticks.ahead()
        self._made = self._made or self.cells.cell()
        await until(self._tick)
        cell, self._made, self._tick = self._made, None, None
        self._end_has_left = self.cells.end_is_sealed
        await self._send([cell])


class CellSource:
    """Fills cells from a provider's response.

    The provider's connection is read once for each cell, so whatever arrives in between costs nothing.

    Args:
        arrived: gives the response once its head has arrived, until then None. It may raise ProviderError.
    """

    def __init__(self, arrived: Arrived) -> None:
        self._arrived = arrived
        self._begun = False

    def fill(self, cells: CellSealer) -> None:
        """Adds what has arrived. Raises ProviderError."""
        response = self._arrived()
        if response is None:
            return
        if not self._begun:
            self._begun = True
            cells.add(ResponsePart(head=response_head(response)))
        if cells.has_room:
            body = response.take(MAX_BODY_PIECE)
            tail = response.tail() if response.ended else None
            if body or tail:
                cells.add(ResponsePart(body=body or None, tail=tail))


@asynccontextmanager
async def coming(call: Coroutine[Any, Any, ProviderResponse]) -> AsyncIterator[Arrived]:
    """Makes a call while the block runs, and closes its connection at the end."""
    task = asyncio.create_task(call)
    try:
        yield lambda: task.result() if task.done() else None
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await task.result().aclose()
