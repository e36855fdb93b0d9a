"""A WebSocket to the provider: its handshake and its frames (spec/protocol.md, section 11.7; RFC 6455).

The library websockets implements the protocol; here it does no input or output of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode as WireOpcode
from websockets.protocol import Event, Protocol, Side, State
from websockets.utils import accept_key, generate_key

from blindrelay.provider_bridge.errors import ProviderError, SealedError, bad_response
from blindrelay.provider_bridge.policy.headers import HeaderError, response_headers, subprotocols
from blindrelay.provider_bridge.upstream.connection import WRITE_SECONDS, Head
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.transport import ResponseBody
from blindrelay.sealing import CLOSE, close_frame, close_reason, data_frames
from blindrelay.v1.http_headers import SUBPROTOCOL, Header
from blindrelay.v1.inner_pb2 import ERROR_CODE_TOO_LARGE, EXECUTION_STARTED, Frame

MAX_MESSAGE: Final = 16_777_216
"""Bytes of a message from the provider: more than a minute of uncompressed audio in base64."""

BYTES_AT_ONCE: Final = 4_096
"""Bytes of frames that are read before other tasks run: 2,048 empty pings take 20 ms."""

PING_SECONDS: Final = 20.0
"""Silence before a ping is sent. After as much again, or after a close, the connection counts as lost."""

FAREWELL_SECONDS: Final = 1.0
"""Seconds for a close to be sent before the connection is dropped."""

_SILENT: Final = logging.Logger("websocket", logging.CRITICAL)
"""At debug level the library would log the content of frames."""


class Handshake:
    """The client's half of an opening handshake (RFC 6455, section 4.1), used once.

    Args:
        headers: those of the request, which may offer subprotocols.
        brought: whether the credential is the client's own.
    """

    def __init__(self, headers: Iterable[Header], *, brought: bool) -> None:
        self._key = generate_key()
        self._brought = brought
        self._offered = [
            each for name, value in headers if name == SUBPROTOCOL for each in subprotocols(value)
        ]
        self.headers: list[Header] = [
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-key", self._key.encode()),
            (b"sec-websocket-version", b"13"),
        ]

    def open(self, head: Head, body: ResponseBody) -> ProviderTunnel:
        """The tunnel that a response of status 101 opens. Raises ProviderError if it opens none."""
        received = list(head.headers)
        chosen = [value for name, value in received if name == SUBPROTOCOL]
        wrong = self._wrong_with(received, chosen)
        if wrong is not None:
            raise bad_response(f"the provider's WebSocket handshake is refused: {wrong}")
        try:
            headers = response_headers(received, chunked=False, brought=self._brought)
        except HeaderError as error:
            raise bad_response(f"the provider's response is refused: {error}") from None
        return ProviderTunnel(body, headers + [(SUBPROTOCOL, value) for value in chosen])

    def _wrong_with(self, received: list[Header], chosen: list[bytes]) -> str | None:
        values = dict(received)
        if values.get(b"upgrade", b"").lower() != b"websocket":
            return "it does not switch to WebSocket"
        if values.get(b"sec-websocket-accept", b"") != accept_key(self._key).encode():
            return "its accept value does not belong to the key"
        if any(name == b"sec-websocket-extensions" for name, _ in received):
            return "it has an extension that was not offered"
        if len(chosen) > 1 or any(each not in self._offered for each in chosen):
            return "it chose a subprotocol that was not offered"
        return None


class ProviderTunnel:
    """An open WebSocket. It holds a connection until it is closed.

    Attributes:
        headers: those that go back to the client.
    """

    def __init__(self, body: ResponseBody, headers: list[Header]) -> None:
        self.headers = headers
        self._body = body
        self._stream = body.switched()
        self._protocol = Protocol(Side.CLIENT, max_size=MAX_MESSAGE, logger=_SILENT)
        self._received: deque[Frame] = deque()
        self._writing = asyncio.Lock()
        self._pinged = False
        self._failure: Exception | None = None

    async def receive(self) -> Frame:
        """The next frame; the last one is a close.

        Raises ProviderError if the connection is lost without one, and the failure that abort() was given.
        """
        try:
            while not self._received:
                await self._read()
        except ProviderError:
            if self._failure is None:
                raise
        if self._failure is not None:  # whatever the provider still sends: its close replies to ours
            raise self._failure
        return self._received.popleft()

    async def send(self, frame: Frame) -> None:
        """Sends a frame; after a close, frames are dropped. Raises ProviderError."""
        if self._protocol.state is not State.OPEN:
            return
        match frame.opcode:
            case WireOpcode.CONT:
                self._protocol.send_continuation(frame.data, frame.fin)
            case WireOpcode.TEXT:
                self._protocol.send_text(frame.data, frame.fin)
            case WireOpcode.BINARY:
                self._protocol.send_binary(frame.data, frame.fin)
            case _:
                self._protocol.send_close(*close_reason(frame))
        await self._flush()

    async def abort(self, failure: Exception) -> None:
        """Closes the connection; receive() raises the failure from now on."""
        self._failure = failure
        with suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.send(close_frame(_close_code(failure)))
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connection at once."""
        self._body.close()

    async def _read(self) -> None:
        violation = self._protocol.parser_exc
        if self._failure is not None or violation is not None:
            await self._discard_input()
            raise _broken(violation)
        if not await self._stream.arrival(PING_SECONDS):
            if self._pinged or self._protocol.state is not State.OPEN:
                raise _lost()
            self._pinged = True
            self._protocol.send_ping(b"")
        else:
            self._take()
        for event in self._protocol.events_received():
            self._received += _frames(event)
        with suppress(ProviderError):  # what has arrived counts; the next read finds the failure
            await self._flush()

    async def _discard_input(self) -> None:
        """Reads and drops data for a moment.

        If data stayed unread, the system would reset the connection before the provider saw the close.
        """
        with suppress(OSError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                while await self._stream.arrival() and self._stream.take():
                    pass

    def _take(self) -> None:
        try:
            data = self._stream.take()
        except OSError:
            raise _lost() from None
        if data:
            self._pinged = False
            if len(data) > BYTES_AT_ONCE:
                self._stream.put_back(data[BYTES_AT_ONCE:])
            self._protocol.receive_data(data[:BYTES_AT_ONCE])
        else:
            self._protocol.receive_eof()

    async def _flush(self) -> None:
        async with self._writing:
            try:
                if data := b"".join(self._protocol.data_to_send()):
                    await self._stream.write(data, WRITE_SECONDS)
            except OSError:
                raise _lost() from None


def _broken(violation: Exception | None) -> ProviderError:
    """Why the tunnel is over. The library has chosen the close code for the provider."""
    match violation:
        case None | EOFError():
            return _lost()
        case PayloadTooBig():
            return ProviderError(
                Failure.TOO_LARGE,
                f"a message from the provider is over {MAX_MESSAGE} bytes, the most that this bridge takes",
                EXECUTION_STARTED,
            )
    return ProviderError(
        Failure.BAD_WEBSOCKET, "the provider broke the WebSocket protocol", EXECUTION_STARTED
    )


def _lost() -> ProviderError:
    return ProviderError(Failure.CUT, "the connection to the provider was lost", EXECUTION_STARTED)


def _close_code(failure: Exception) -> int:
    """The close code for the provider when the bridge ends the tunnel (RFC 6455, section 7.4.1)."""
    too_large = isinstance(failure, SealedError) and failure.code == ERROR_CODE_TOO_LARGE
    return CloseCode.MESSAGE_TOO_BIG if too_large else CloseCode.POLICY_VIOLATION


def _frames(event: Event) -> list[Frame]:
    """A WebSocket frame as frames of the tunnel; pings and pongs are not passed on."""
    match event:
        case WireFrame(opcode=WireOpcode.CLOSE):
            return [Frame(opcode=CLOSE, fin=True, data=bytes(event.data))]
        case WireFrame(opcode=WireOpcode.CONT | WireOpcode.TEXT | WireOpcode.BINARY):
            return data_frames(event.opcode, bytes(event.data), fin=event.fin)
    return []
