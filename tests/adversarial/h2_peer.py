"""An HTTP/2 peer that keeps to no rule: frames as they are wanted, over a bare connection.

What comes back is read and counted, so that a flood meets the server and not a full socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from blindrelay.serving import STREAMS_PER_CLIENT
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD

FRAME_SIZE: Final = 16_384
"""Bytes of a frame's payload that every server takes."""

WINDOW: Final = 65_535
"""Bytes that may be sent on a connection until the server grants more (RFC 9113, section 6.9.2), and on a
stream unless its settings say otherwise."""

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER: Final = 9
_BURST: Final = 262_144
_CANCEL: Final = 8


class Peer:
    """One connection. A polite peer acknowledges the server's settings and pings.

    Attributes:
        frames: how many frames of each kind came, by class name.
        names: of the headers and trailers that came.
        statuses: how many calls ended with which grpc-status.
        resets: how many streams the server has reset, by error code.
        closed: set when the server has closed the connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, polite: bool) -> None:
        self.frames: Counter[str] = Counter()
        self.names: set[str] = set()
        self.statuses: Counter[str] = Counter()
        self.resets: Counter[int] = Counter()
        self.closed = asyncio.Event()
        self._windows: Counter[int] = Counter()
        self._initial_window = WINDOW
        self._ended: set[int] = set()
        self._heard = asyncio.Condition()
        self._reader = reader
        self._writer = writer
        self._polite = polite
        self._decoder = Decoder()
        self._stream = -1
        self._listening = asyncio.create_task(self._listen())

    def stream(self) -> int:
        """The number of a stream that was not used before."""
        self._stream += 2
        return self._stream

    async def send(self, *frames: Frame) -> None:
        """Writes frames in bursts, as fast as the server takes them; nothing happens once it has hung up."""
        with contextlib.suppress(ConnectionError):
            for burst in _bursts(frames):
                if self._writer.transport.is_closing():
                    return
                self._writer.write(burst)
                await self._writer.drain()

    async def pour(self, stream: int, data: bytes) -> None:
        """Sends bytes of messages as the server's windows let them pass, until the server ends the call."""
        for start in range(0, len(data), FRAME_SIZE):
            piece = data[start : start + FRAME_SIZE]
            await self.until(partial(self._may_send, stream, len(piece)))
            if stream in self._ended:
                return
            self._windows.subtract({0: len(piece), stream: len(piece)})
            await self.send(DataFrame(stream, piece))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until what has come from the server fulfils a condition, or the server has hung up."""
        async with self._heard:
            await self._heard.wait_for(lambda: self.closed.is_set() or condition())

    async def ended(self, calls: int) -> None:
        """Waits until so many calls have ended, or the server has hung up."""
        await self.until(lambda: self.statuses.total() >= calls)

    async def answered(self) -> None:
        """Waits until the server has read all that was sent: it answers a ping, or hangs up."""
        seen = self.frames["PingFrame"]
        await self.send(PingFrame(0, b"question"))
        await self.until(lambda: self.frames["PingFrame"] > seen)

    async def close(self) -> None:
        """Ends the connection."""
        self._listening.cancel()
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def _may_send(self, stream: int, size: int) -> bool:
        connection, call = WINDOW + self._windows[0], self._initial_window + self._windows[stream]
        return stream in self._ended or min(connection, call) >= size

    async def _listen(self) -> None:
        try:
            while True:
                frame = await self._frame()
                self._take(frame)
                if self._polite and "ACK" not in frame.flags:
                    if isinstance(frame, PingFrame):
                        await self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
                    elif isinstance(frame, SettingsFrame):
                        await self.send(SettingsFrame(0, flags=["ACK"]))
                await self._tell()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
            await self._tell()

    async def _tell(self) -> None:
        async with self._heard:
            self._heard.notify_all()

    async def _frame(self) -> Frame:
        header = await self._reader.readexactly(_FRAME_HEADER)
        frame, length = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        return frame

    def _take(self, frame: Frame) -> None:
        self.frames[type(frame).__name__] += 1
        if isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags:
            self._ended.add(frame.stream_id)
        if isinstance(frame, HeadersFrame):
            headers = {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
            self.names |= headers.keys()
            self.statuses.update(headers[name] for name in headers.keys() & {"grpc-status"})
        elif isinstance(frame, RstStreamFrame):
            self.resets[frame.error_code] += 1
        elif isinstance(frame, SettingsFrame):
            self._initial_window = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self._initial_window)
        elif isinstance(frame, WindowUpdateFrame):
            self._windows[frame.stream_id] += frame.window_increment


def _bursts(frames: Iterable[Frame]) -> Iterator[bytes]:
    burst = bytearray()
    for frame in frames:
        burst += frame.serialize()
        if len(burst) >= _BURST:
            yield bytes(burst)
            burst.clear()
    yield bytes(burst)


@contextlib.asynccontextmanager
async def peers(
    address: str, count: int, *, polite: bool = True, settings: Mapping[int, int] | None = None
) -> AsyncIterator[list[Peer]]:
    """So many connections, which have said hello, for as long as the block runs."""
    host, _, port = address.rpartition(":")
    opened: list[Peer] = []
    try:
        for _number in range(count):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(_PREFACE)
            opened.append(Peer(reader, writer, polite))
            await opened[-1].send(SettingsFrame(0, settings=dict(settings or {})))
        yield opened
    finally:
        for one in opened:
            await one.close()


async def hello(address: str) -> asyncio.StreamWriter:
    """A connection that has sent HTTP/2's preface and settings, and reads nothing."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(_PREFACE + SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize())
    return writer


def header_block(metadata: Iterable[tuple[str, str]] = (), path: str = EXCHANGE_METHOD) -> bytes:
    """The header block of a call; it refers to nothing that was sent before."""
    encoder = Encoder()
    encoder.header_table_size = 0
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    fields += [("content-type", "application/grpc"), ("te", "trailers"), *metadata]
    return encoder.encode(fields, huffman=False)


def opening(stream: int, block: bytes) -> HeadersFrame:
    """Opens a call whose messages follow."""
    return HeadersFrame(stream, block, flags=["END_HEADERS"])


def opening_in_pieces(stream: int, block: bytes) -> list[Frame]:
    """Opens a call with a header block of any size, in as many frames as that takes."""
    first, *others = (block[start : start + FRAME_SIZE] for start in range(0, len(block), FRAME_SIZE))
    frames = [HeadersFrame(stream, first), *(ContinuationFrame(stream, piece) for piece in others)]
    frames[-1].flags.add("END_HEADERS")
    return frames


def message_start(claimed: int, body: bytes, *, compressed: bool = False) -> bytes:
    """The five bytes before a gRPC message of `claimed` bytes, and as much of it as is wanted."""
    return struct.pack(">BI", compressed, claimed) + body


def reset(stream: int) -> RstStreamFrame:
    """Ends a call that was just opened."""
    return RstStreamFrame(stream, _CANCEL)


async def reset_rapidly(attacker: Peer, block: bytes, calls: int) -> None:
    """Calls that are reset at once, as many at a time as a connection may have."""
    for _ in range(0, calls, STREAMS_PER_CLIENT):
        streams = [attacker.stream() for _ in range(STREAMS_PER_CLIENT)]
        await attacker.send(*(opening(each, block) for each in streams))
        await attacker.send(*map(reset, streams))


async def start_messages(attacker: Peer, block: bytes, calls: int, claimed: int, sent: int) -> None:
    """Calls whose message is never finished."""
    for _ in range(calls):
        stream = attacker.stream()
        await attacker.send(opening(stream, block))
        await attacker.pour(stream, message_start(claimed, bytes(sent)))
    await attacker.answered()
