"""A TCP connection, plain or with TLS, that is read only on request.

It uses the socket and not an asyncio transport, for three reasons. A transport reads ahead. When a write
fails, it discards what the peer sent before. With TLS it copies every byte twice more.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

READ_SIZE: Final = 65_536
"""Bytes of one read: the most that one record holds."""

_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SocketStream:
    """A connected, non-blocking socket. One task reads and one writes at a time.

    Every wait may be cancelled. close() is immediate and ends every wait.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connected
        self._descriptor = connected.fileno()
        self._arrived: bytes | None = None  # b"" is the end, and stays
        self._failure: OSError | None = None
        self._reader: asyncio.Future[bool] | None = None
        self._writer: asyncio.Future[bool] | None = None
        self._watched = False
        self._closed = False

    def poll(self) -> bool:
        """Whether there is something to take now: bytes, the end, or a failure."""
        return self._arrived is not None or self._failure is not None or self._receive()

    def take(self) -> bytes:
        """What has arrived, at most READ_SIZE bytes; none at the end.

        Only after poll() or arrival() was true. Raises OSError.
        """
        if self._arrived is None:
            raise self._failure or BlockingIOError
        arrived = self._arrived
        if arrived:
            self._arrived = None
        return arrived

    def put_back(self, data: bytes) -> None:
        """Makes these bytes the next ones to take."""
        self._arrived = data + (self._arrived or b"")

    async def arrival(self, timeout: float | None = None) -> bool:
        """Waits until there is something to take; false after `timeout` seconds.

        Other tasks run even if there is something at once: a peer that never pauses must not block them.
        """
        if self.poll():
            await asyncio.sleep(0)
            return True
        return await self._woken(timeout, reading=True)

    def send(self, data: bytes | memoryview) -> int:
        """Sends what the system accepts at once; returns how many bytes. Raises OSError."""
        try:
            return self._socket.send(data)
        except _NOT_NOW:
            return 0

    async def room(self, timeout: float, *, or_arrival: bool = False) -> None:
        """Waits until more can be sent, or with `or_arrival` until there is something to take.

        Raises TimeoutError after `timeout` seconds.
        """
        if or_arrival and self.poll():
            return
        if not await self._woken(timeout, reading=or_arrival, writing=True):
            raise TimeoutError

    async def write(self, data: bytes, timeout: float) -> None:
        """Sends everything. Raises OSError; TimeoutError if nothing could be sent for `timeout` seconds."""
        unsent = memoryview(data)
        while unsent := unsent[self.send(unsent) :]:
            await self.room(timeout)

    def detach(self) -> socket.socket:
        """Hands over the socket; the stream counts as closed."""
        detached = self._socket
        self._forget()
        return detached

    def close(self) -> None:
        """Closes the connection at once. A later take() raises ConnectionAbortedError."""
        if not self._closed:
            self._forget()
            self._socket.close()

    def _forget(self) -> None:
        self._closed = True
        if self._watched:
            self._loop.remove_reader(self._descriptor)
        if self._writer is not None:
            self._loop.remove_writer(self._descriptor)
        self._arrived, self._failure = None, ConnectionAbortedError()
        for waiting in (self._reader, self._writer):
            if waiting is not None:
                _wake(waiting)

    def _receive(self) -> bool:
        try:
            self._arrived = self._socket.recv(READ_SIZE)
        except _NOT_NOW:
            return False
        except OSError as failure:
            self._failure = failure
        return True

    async def _woken(self, timeout: float | None, *, reading: bool = False, writing: bool = False) -> bool:
        woken: asyncio.Future[bool] = self._loop.create_future()
        timer = None if timeout is None else self._loop.call_later(timeout, _wake, woken, False)
        if reading:
            self._reader = woken
            if not self._watched:
                self._loop.add_reader(self._descriptor, self._on_readable)
                self._watched = True
        if writing:
            self._writer = woken
            self._loop.add_writer(self._descriptor, _wake, woken)
        try:
            return await woken
        finally:
            if timer is not None:
                timer.cancel()
            if reading:
                self._reader = None
            if writing:
                self._writer = None
                if not self._closed:
                    self._loop.remove_writer(self._descriptor)

    def _on_readable(self) -> None:
        if self._reader is None or self._reader.done():
            # No reader waits. Data stays in the kernel, which slows the peer down.
            self._loop.remove_reader(self._descriptor)
            self._watched = False
        elif self._receive():
            _wake(self._reader)


def _wake(waiting: asyncio.Future[bool], ready: bool = True) -> None:
    if not waiting.done():
        waiting.set_result(ready)
