"""What a client sends in a shaped tunnel: a cell at each tick (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio

from blindrelay.client.errors import BlindRelayError
from blindrelay.client.sealed_stream import SealedStream
from blindrelay.sealing import CellSealer
from blindrelay.v1.grid import Grid, until
from blindrelay.v1.inner_pb2 import RequestPart


class TunnelCells:
    """Sends cells from now on, in a task of its own."""

    def __init__(self, stream: SealedStream, cells: CellSealer) -> None:
        self._stream = stream
        self._cells = cells
        self._room = asyncio.Event()
        self._sending = asyncio.create_task(self._send_cells())

    async def add(self, part: RequestPart) -> bool:
        """Takes a part as soon as the next cell has room. Returns False if the call has ended.

        Raises StateError if the part is out of order.
        """
        while not self._cells.has_room and not self._sending.done():
            self._room.clear()
            await self._room.wait()
        if self._sending.done():
            return False
        self._cells.add(part)
        return True

    async def sent(self) -> None:
        """Waits until the last cell has been sent, or the call has ended."""
        await asyncio.wait([self._sending])

    def drop(self) -> None:
        """Sends nothing more."""
        self._sending.cancel()

    async def _send_cells(self) -> None:
        ticks = Grid(self._cells.shape.tick, aligned=True)
        try:
            while not self._cells.finished:
                tick = await ticks.ahead()
                cell = self._cells.cell()
                self._room.set()
                await until(tick)
                if not await self._stream.write([cell]):
                    return
            await self._stream.finish([])
        except BlindRelayError:
            return  # the stream is closed: reading tells that the tunnel has ended
        finally:
            self._room.set()
