"""The bridge's HTTP client, behind httpx's interface for transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from itertools import repeat
from typing import Final, cast

import h11
import httpx

from blindrelay.provider_bridge.upstream.connection import HttpConnection
from blindrelay.provider_bridge.upstream.dialling import Route, dial
from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.pool import Pool
from blindrelay.provider_bridge.upstream.socket_stream import READ_SIZE, SocketStream

PIECES_AT_ONCE: Final = 64
"""Of a body, taken before others have their turn: a provider may send chunks of one byte, or with 64 KiB of
framing each."""


class UpstreamTransport(httpx.AsyncBaseTransport):
    """HTTP/1.1 to one provider: no redirects, no cookies, no decoding, no second attempt.

    A cancelled call closes its connection and gives its place back, wherever it is cancelled.
    """

    def __init__(self, route: Route) -> None:
        self.pool = Pool(partial(dial, route))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; the extension "target" may give its exact request target. Raises UpstreamError.

        The response's stream is a ResponseBody, which has to be closed.
        """
        target = request.extensions.get("target", request.url.raw_path)
        head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        connection = await self.pool.lease()
        body = ResponseBody(connection, self.pool)
        try:
            received = await connection.request(head, cast(httpx.AsyncByteStream, request.stream))
            return httpx.Response(
                received.status_code,
                headers=received.headers.raw_items(),
                stream=body,
                extensions={"http_version": b"HTTP/" + received.http_version},
            )
        except BaseException:
            body.close()
            raise

    async def aclose(self) -> None:
        """Closes every connection."""
        self.pool.close()


class ResponseBody(httpx.AsyncByteStream):
    """A response's body, read when asked. It holds a connection until it is closed."""

    def __init__(self, connection: HttpConnection, pool: Pool) -> None:
        self._connection = connection
        self._pool = pool
        self._rest: bytes | bytearray = b""
        self._failure: UpstreamError | None = None
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether everything has been taken."""
        return self._connection.ended and not self._rest

    def take(self, room: int) -> bytes:
        """Of what has arrived, at most `room` bytes; none if nothing has.

        Raises UpstreamError when what came before the failure has been taken.
        """
        pieces: list[bytes | bytearray] = []
        for _ in repeat(None, PIECES_AT_ONCE):
            if not room or not (piece := self._rest or self._next_piece()):
                break
            pieces.append(piece if len(piece) <= room else piece[:room])
            self._rest = piece[room:]
            room -= len(pieces[-1])
        if self._failure is not None and not pieces:
            raise self._failure
        return b"".join(pieces)

    async def arrival(self, timeout: float | None) -> bool:
        """Waits until take() may have something to say; false after `timeout` seconds without.

        Others have their turn before it returns, however fast the provider sends.
        """
        # h11 may hold what has been received already, and the end is not a byte that a socket shows.
        self._rest = self._rest or self._next_piece() or b""
        if self._rest or self.ended or self._failure is not None:
            await asyncio.sleep(0)
            return True
        return await self._connection.arrival(timeout)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while not self.ended:
            if piece := self.take(READ_SIZE):
                yield piece
            elif not self.ended:
                await self.arrival(None)

    def switched(self) -> SocketStream:
        """The bare connection after a response of status 101, until this body is closed."""
        return self._connection.switched()

    def close(self) -> None:
        """Gives the connection back: for another request if the body was read to its end."""
        if not self._closed:
            self._closed = True
            # The connection may carry somebody else's response from now on.
            self._failure = UpstreamError(Failure.CUT, "the response is closed", sent=True)
            self._pool.give_back(self._connection)

    async def aclose(self) -> None:
        """As close()."""
        self.close()

    def _next_piece(self) -> bytes | bytearray | None:
        if self._failure is None:
            try:
                return self._connection.next_piece()
            except UpstreamError as failure:
                self._failure = failure
        return None
