"""A TCP cable that can go dead silently, as when a machine sleeps or changes networks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Cable:
    """Carries TCP between clients and a port of this machine.

    Attributes:
        port: where it listens.
        connections: how many there have been.
        carried: set when a response has come back.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.connections = 0
        self.carried = asyncio.Event()
        self._target = port
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
        up, down = self._carry(number, reader, back), self._carry(number, there, writer, self.carried)
        self._tasks += [asyncio.create_task(up), asyncio.create_task(down)]

    async def _carry(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        carried: asyncio.Event | None = None,
    ) -> None:
        while data := await reader.read(65_536):
            if number > self._muted:
                writer.write(data)
                if carried is not None:
                    carried.set()

    def remove(self) -> None:
        for task in self._tasks:
            task.cancel()
        for end in self._ends:
            end.close()


@asynccontextmanager
async def cable_to(port: int) -> AsyncIterator[Cable]:
    """A cable while the block runs."""
    cable = Cable(port)
    listener = await asyncio.start_server(cable.join, "127.0.0.1", 0)
    cable.port = listener.sockets[0].getsockname()[1]
    try:
        yield cable
    finally:
        listener.close()
        cable.remove()
