"""HTTP/1.1 over one connection, one request after the other. h11 parses and writes the protocol."""

from __future__ import annotations

import asyncio
from typing import Final

import h11

from blindrelay.provider_bridge.upstream.failures import Failure, UpstreamError
from blindrelay.provider_bridge.upstream.socket_stream import SocketStream

UPLOADED_AT_ONCE: Final = 262_144
"""Bytes of a request's body that are offered to the system together."""

WRITE_SECONDS: Final = 60.0
"""Without the provider taking any more of what is written."""

MAX_HEAD: Final = 102_400
"""Bytes of a response's head, and of a chunk's size line."""

MAX_INTERIM: Final = 32
"""Informational responses before the final one; a provider could send them for ever."""

SWITCHING_PROTOCOLS: Final = 101

_FIRST_BYTES: Final = b"HTTP/1."

Head = h11.Response | h11.InformationalResponse
"""A final response's head, or that of status 101."""


class HttpConnection:
    """One connection to a provider.

    Attributes:
        ended: whether the response's body has ended.
    """

    def __init__(self, stream: SocketStream, idle_seconds: float) -> None:
        """A response fails if the provider sends nothing for `idle_seconds` while it is awaited."""
        self.ended = False
        self._idle_seconds = idle_seconds
        self._silent_since: float | None = None
        self._stream = stream
        self._protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._head: Head | None = None
        self._interim = 0
        self._at_end = False

    async def request(self, request: h11.Request, body: bytes | bytearray = b"") -> Head:
        """Sends a request and waits for the head of its response. Raises UpstreamError.

        A response that refuses the request (300 and above) ends the upload. If the provider stops reading,
        what it sent before counts.
        """
        try:
            await self._upload(request, body)
        except TimeoutError:
            raise UpstreamError(
                Failure.STALLED,
                f"the provider took nothing more of the request for {WRITE_SECONDS:.0f} seconds",
                sent=True,
            ) from None
        except OSError:
            pass
        while self._head is None:
            if await self.arrival(None):
                self._read_head()
        return self._head

    def next_data(self) -> bytes | bytearray:
        """The next bytes of the body that have arrived, or none. Raises UpstreamError.

        It reads from the socket at most once: chunks may be nothing but framing, without end.
        """
        fed = False
        while not self.ended:
            event = self._next_event()
            if isinstance(event, h11.Data):
                return event.data
            if event is h11.NEED_DATA:
                if fed:
                    break
                if not self._stream.poll():
                    self._patience()
                    break
                self._feed()
                fed = True
            elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                self.ended = True
        return b""

    async def arrival(self, timeout: float | None) -> bool:
        """Waits until next_data() may return more; false after `timeout` seconds.

        Raises UpstreamError if the provider stays silent for too long.
        """
        patience = self._patience()
        return await self._stream.arrival(patience if timeout is None else min(timeout, patience))

    def switched(self) -> SocketStream:
        """The bare connection, after a response that switches protocols."""
        early, _ = self._protocol.trailing_data
        if early:
            self._stream.put_back(early)
        return self._stream

    def renew(self) -> bool:
        """Makes the connection ready for another request; false if it cannot carry one."""
        finished = self._protocol.our_state is h11.DONE and self._protocol.their_state is h11.DONE
        # Data that nobody requested would be read as the next response.
        if not finished or self._protocol.trailing_data[0]:
            return False
        self._protocol.start_next_cycle()
        self.ended, self._head, self._interim, self._silent_since = False, None, 0, None
        return True

    @property
    def is_quiet(self) -> bool:
        """Whether the provider has neither closed the connection nor sent unrequested data."""
        return not self._stream.poll()

    def close(self) -> None:
        """Closes the connection at once."""
        self._stream.close()

    async def _upload(self, request: h11.Request, body: bytes | bytearray) -> None:
        if await self._write(self._beginning(request, body)) and await self._write(body, UPLOADED_AT_ONCE):
            self._protocol.send(h11.EndOfMessage())

    def _beginning(self, request: h11.Request, body: bytes | bytearray) -> bytes:
        """The head, and what leaves with it of the body, which is sent as it is: h11 only counts it."""
        head = self._protocol.send(request) or b""
        if not body:
            return head
        with memoryview(body) as whole:
            self._protocol.send_with_data_passthrough(h11.Data(data=whole))  # type: ignore[arg-type]
            return head + whole[:UPLOADED_AT_ONCE]

    async def _write(self, data: bytes | bytearray, start: int = 0) -> bool:
        """Sends what comes from `start` on; false as soon as a response has refused the request."""
        while start < len(data):
            # Released before the wait, also by a failure: the body may be changed then.
            with memoryview(data)[start : start + UPLOADED_AT_ONCE] as unsent:
                sent, size = self._stream.send(unsent), len(unsent)
            start += sent
            if sent < size:
                await self._stream.room(WRITE_SECONDS, or_arrival=self._head is None)
            if self._is_refused():
                return False
        return True

    def _is_refused(self) -> bool:
        while self._head is None and self._stream.poll():
            self._read_head()
        return self._head is not None and self._head.status_code >= 300

    def _read_head(self) -> None:
        """Reads what has arrived of the head."""
        self._feed()
        while self._head is None:
            event = self._next_event()
            if event is h11.NEED_DATA:
                self._check_beginning()
                return
            if isinstance(event, h11.Response) or (
                isinstance(event, h11.InformationalResponse) and event.status_code == SWITCHING_PROTOCOLS
            ):
                self._head = event
            else:
                self._interim += 1
                if self._interim > MAX_INTERIM:
                    raise self._not_http()

    def _check_beginning(self) -> None:
        """A peer that does not speak HTTP may never send the blank line that h11 waits for."""
        received, _ = self._protocol.trailing_data
        if not _FIRST_BYTES.startswith(received[: len(_FIRST_BYTES)]):
            raise self._not_http()

    def _patience(self) -> float:
        """Seconds that the provider may stay silent from now on. Raises UpstreamError if there are none.

        Silence begins when something is awaited and nothing is there: a slow reader makes none.
        """
        now = asyncio.get_running_loop().time()
        if self._silent_since is None:
            self._silent_since = now
        left = self._silent_since + self._idle_seconds - now
        if left <= 0:
            message = f"the provider sent nothing for {self._idle_seconds:.0f} seconds"
            raise UpstreamError(Failure.SILENT, message, sent=True)
        return left

    def _feed(self) -> None:
        self._silent_since = None
        try:
            data = self._stream.take()
        except OSError:
            raise self._broken_off() from None
        self._at_end = not data
        if self._at_end and self._head is None:
            raise self._broken_off()
        self._protocol.receive_data(data)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._protocol.next_event()
        except h11.RemoteProtocolError:
            raise (self._broken_off() if self._at_end else self._not_http()) from None

    def _broken_off(self) -> UpstreamError:
        if self._head is None:
            return UpstreamError(
                Failure.NO_RESPONSE, "the provider closed the connection without a response", sent=True
            )
        return UpstreamError(Failure.CUT, "the provider broke off in the middle of its response", sent=True)

    def _not_http(self) -> UpstreamError:
        return UpstreamError(Failure.NOT_HTTP, "the provider's response is not valid HTTP/1.1", sent=True)
