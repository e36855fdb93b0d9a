"""TCP between two parts of a testbed, which can be lost: cut, so that both sides notice, or silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar

READ_SIZE: Final = 65_536

T = TypeVar("T")


class Link:
    """Listens on a port of its own, and carries what comes to its target.

    Attributes:
        address: HOST:PORT where it listens, once its Links are open.
        target: returns where it leads.
    """

    def __init__(self, target: Callable[[], str]) -> None:
        """`target` returns HOST:PORT, or the path of a Unix socket, for each connection."""
        self.address = ""
        self.target = target
        self._cut = False
        self._passing = asyncio.Event()
        self._passing.set()
        self._ends: set[asyncio.StreamWriter] = set()

    async def listen(self) -> asyncio.Server:
        """Begins to listen, on a free port."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.address = "{}:{}".format(*server.sockets[0].getsockname())
        return server

    def cut(self) -> None:
        """Resets every connection, and each new one, until restore()."""
        self._cut = True
        self._reset()

    def silence(self) -> None:
        """Carries nothing until restore(), and closes nothing. What is sent meanwhile arrives afterwards."""
        self._passing.clear()

    def restore(self) -> None:
        """Works again. Connections that were only silent go on."""
        self._cut = False
        self._passing.set()

    def lead(self, target: Callable[[], str]) -> None:
        """Carries what comes from now on to another target, and resets every connection."""
        self.target = target
        self._reset()

    def _reset(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._ends.add(writer)
        try:
            await self._passing.wait()
            if not self._cut:
                there, back = await _connection(self.target())
                ends.append(back)
                self._ends.add(back)
                await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except OSError:
            pass
        finally:
            for end in ends:
                self._ends.discard(end)
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(READ_SIZE):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()
        await self._passing.wait()
        writer.write_eof()


class Links:
    """All links of a testbed, by name. They run in a thread of their own."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []

    def add(self, name: str, target: Callable[[], str]) -> Link:
        """A link, which is there once they are open."""
        return self._links.setdefault(name, Link(target))

    def open(self) -> None:
        """Listens on all."""
        self._thread.start()
        self._servers = [self._run(link.listen()) for link in self._links.values()]

    def close(self) -> None:
        """Ends all connections."""
        if self._thread.is_alive():
            self._run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    @contextmanager
    def lost(self, name: str, *, silently: bool) -> Iterator[None]:
        """The link is cut while the block runs, or silent."""
        link = self._links[name]
        self._do(link.silence if silently else link.cut)
        try:
            yield
        finally:
            self._do(link.restore)

    def target(self, name: str) -> str:
        """Where a link leads now."""
        return self._links[name].target()

    @contextmanager
    def leading(self, name: str, address: str) -> Iterator[None]:
        """The link leads to another address while the block runs. Connections are reset before and after."""
        link = self._links[name]
        before = link.target
        self._do(lambda: link.lead(lambda: address))
        try:
            yield
        finally:
            self._do(lambda: link.lead(before))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for link in self._links.values():
            link.cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _do(self, what: Callable[[], None]) -> None:
        async def done() -> None:
            what()

        self._run(done())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _connection(target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if target.startswith("/"):
        return await asyncio.open_unix_connection(target)
    host, _, port = target.rpartition(":")
    return await asyncio.open_connection(host, int(port))
