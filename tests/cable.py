"""A TCP cable that may be slow, and can go dead silently, as when a machine sleeps or changes networks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Cable:
    """Carries TCP between clients and a port of this machine.

    Attributes:
        port: where it listens.
        connections: how many there have been.
        carried: set when a response has come back.
    """

    def __init__(self, port: int, bytes_per_second: float) -> None:
        self.port = 0
        self.connections = 0
        self.carried = asyncio.Event()
        self._target = port
        self._bytes_per_second = bytes_per_second
        self._muted = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: list[asyncio.StreamWriter] = []

    def mute(self) -> None:
        """From now on the open connections carry nothing; new ones work."""
        self._muted = self.connections

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self.connections += 1
        number = self.connections
        self._ends += [writer, back]
        up, down = self._up(number, reader, back), self._down(number, there, writer)
        self._tasks += [asyncio.create_task(up), asyncio.create_task(down)]

    async def _up(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock, due = asyncio.get_running_loop().time, 0.0
        size = int(min(65_536, self._bytes_per_second / 16))
        while data := await reader.read(size):
            if number > self._muted:
                writer.write(data)
            # What a busy machine has slept too long is made up for, but not the time without data.
            due = max(due, clock() - 1) + len(data) / self._bytes_per_second
            await asyncio.sleep(due - clock())

    async def _down(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if number > self._muted:
                writer.write(data)
                self.carried.set()

    def remove(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in self._ends:
            end.close()


@asynccontextmanager
async def cable_to(port: int, bytes_per_second: float = math.inf) -> AsyncIterator[Cable]:
    """A cable while the block runs. Upwards it carries so many bytes, and it holds a megabyte."""
    cable = Cable(port, bytes_per_second)
    listener = await asyncio.start_server(cable.join, "127.0.0.1", 0, limit=1 << 20)
    cable.port = listener.sockets[0].getsockname()[1]
    try:
        yield cable
    finally:
        listener.close()
        cable.remove()
