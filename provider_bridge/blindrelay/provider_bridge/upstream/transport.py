"""The bridge's HTTP client: requests to one provider, and the bodies of their responses."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import repeat
from typing import Final

import h11

from blindrelay.provider_bridge.upstream.connection import Head, HttpConnection
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.pool import Pool
from blindrelay.provider_bridge.upstream.route import Route, connect
from blindrelay.provider_bridge.upstream.socket_stream import SocketStream

READS_AT_ONCE: Final = 64
"""Reads of a body before other tasks run: a chunk may be one byte, with 64 KiB of framing."""


class UpstreamTransport:
    """HTTP/1.1 to one provider: no redirects, no cookies, no decoding, no second attempt.

    A cancelled call closes its connection and gives its place back, wherever it is cancelled.
    """

    def __init__(self, route: Route) -> None:
        self.pool = Pool(partial(connect, route))

    async def send(self, request: h11.Request, body: bytearray) -> tuple[Head, ResponseBody]:
        """Sends a request. Returns the response's head and its body, which has to be closed.

        Raises UpstreamError.
        """
        connection = await self.pool.lease()
        response = ResponseBody(connection, self.pool)
        try:
            return await connection.request(request, body), response
        except BaseException:
            response.close()
            raise

    def close(self) -> None:
        """Closes every connection."""
        self.pool.close()


class ResponseBody:
    """A response's body, read only on request. It holds a connection until it is closed."""

    def __init__(self, connection: HttpConnection, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool
        self._arrived: bytes | bytearray = b""
        self._failure: UpstreamError | None = None
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the whole body has been taken."""
        return self._connection.ended and not self._arrived

    def take(self, size: int) -> bytes:
        """At most `size` bytes of what has arrived; none if nothing has.

        Raises UpstreamError once everything before the failure has been taken.
        """
        body: list[bytes | bytearray] = []
        for _ in repeat(None, READS_AT_ONCE):
            if not size or not (data := self._arrived or self._next_data()):
                break
            body.append(data if len(data) <= size else data[:size])
            self._arrived = data[size:]
            size -= len(body[-1])
        if self._failure is not None and not body:
            raise self._failure
        return b"".join(body)

    async def arrival(self, timeout: float | None) -> bool:
        """Waits until take() may return something or raise; false after `timeout` seconds.

        Other tasks run before it returns, however fast the provider sends.
        """
        # h11 may hold data already, and the end of a body is not a byte that a socket shows.
        self._arrived = self._arrived or self._next_data()
        if self._arrived or self.ended or self._failure is not None:
            await asyncio.sleep(0)
            return True
        try:
            return await self._connection.arrival(timeout)
        except UpstreamError as failure:
            self._failure = failure
            return True

    def switched(self) -> SocketStream:
        """The bare connection after a response of status 101, until this body is closed."""
        return self._connection.switched()

    def close(self) -> None:
        """Gives the connection back, to be used again if the body was read to its end."""
        if not self._closed:
            self._closed = True
            # The connection may carry another client's response from now on.
            self._failure = UpstreamError(Failure.CUT, "the response is closed", sent=True)
            self._pool.give_back(self._connection)

    def _next_data(self) -> bytes | bytearray:
        if self._failure is None:
            try:
                return self._connection.next_data()
            except UpstreamError as failure:
                self._failure = failure
        return b""
