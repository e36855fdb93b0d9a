"""What Envoy writes of each exchange that it forwards: one line at its start, one at its end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import grpc

from blindrelay.v1.outer_status import OuterStatus

_MAX_LINE: Final = 8_192
"""Bytes. A lease is the largest part of a line; Envoy accepts 8 KiB of headers in all."""

_PIECE: Final = 65_536
"""Bytes that are read at once. A larger buffer would be new memory of the system each time."""

_ROOM: Final = 1_048_576
"""Bytes in the pipe: a thousand exchanges. Without room, Envoy keeps its lines and writes them in pieces."""

_CLIENT_LEFT: Final = frozenset({"DC", "DR"})
"""Flags for a connection that ended, and a stream that was reset."""

_UNANSWERED: Final = frozenset({"1", "-"})
"""Codes of calls that were cancelled, and of those without a status, whose client Envoy has cut off."""

_CODES: Final = {str(code.value[0]): code for code in grpc.StatusCode}


class Start(NamedTuple):
    """An exchange that Envoy has taken, before its admission.

    Attributes:
        stream: names it among all of this Envoy.
        envelope: exact bytes. Other streams may carry the same ones.
        text: the same as the client has sent it, in base64.
        lease: what the client shows.
    """

    stream: str
    envelope: bytes
    text: str
    lease: str


class End(NamedTuple):
    """The end of an exchange.

    Attributes:
        stream: as the line of its start has it.
        outcome: "ok", "cancelled" or an outer status.
        cluster: where Envoy sent it: a bridge, or the control process.
    """

    stream: str
    outcome: str
    request_bytes: int
    response_bytes: int
    cluster: str


@contextmanager
def usage_from(pipe: Path, take: Callable[[Start | End], None], gone: Callable[[], None]) -> Iterator[None]:
    """Hands over each line while the block runs, and calls `gone` when no Envoy is left to write any. A
    line that cannot be read is skipped.
    """
    reader = _PipeReader(pipe, take, gone)
    try:
        yield
    finally:
        reader.close()


class _PipeReader:
    def __init__(self, pipe: Path, take: Callable[[Start | End], None], gone: Callable[[], None]) -> None:
        self._pipe = pipe
        self._take = take
        self._gone = gone
        self._rest = b""
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._opened()

    def _opened(self) -> int:
        descriptor = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if sys.platform == "linux":
            with suppress(OSError):  # the system may allow less
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _ROOM)
        self._loop.add_reader(descriptor, self._read)
        return descriptor

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return
        if not data:
            self._follow_next()
            return
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_MAX_LINE:]
        for line in lines:
            if (usage := read_line(line)) is not None:
                self._take(usage)

    def _follow_next(self) -> None:
        """The pipe has ended with its last writer. Opened again, it is silent until there is another one.

        It is open all the time: what is written to a pipe that nobody reads is lost. If somebody has removed
        it, no Envoy can write to it any more.
        """
        ended = self._descriptor
        self._loop.remove_reader(ended)
        with suppress(FileNotFoundError):
            self._descriptor = self._opened()
            os.close(ended)
        self._rest = b""
        self._gone()


def read_line(line: bytes) -> Start | End | None:
    """One line, or None if it is not one that the configuration asks Envoy for."""
    kind, *fields = line.decode("ascii", "replace").split(" ")
    try:
        if kind == "start":
            stream, envelope, scheme, lease = fields
            return Start(stream, _bytes(envelope), envelope, lease) if scheme == "Bearer" else None
        if kind == "end":
            stream, received, sent, flags, cluster, code, *words = fields
            return End(stream, _outcome(code, words, flags), int(received), int(sent), cluster)
    except ValueError:
        pass
    return None


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


def _outcome(code: str, words: list[str], flags: str) -> str:
    """`words` are those of the header and of the trailer. Bridges choose them, and how many there are."""
    if code == "0":
        return "ok"
    if code in _UNANSWERED or not _CLIENT_LEFT.isdisjoint(flags.split(",")):
        return "cancelled"
    said = [word for word in words if word != "-"]
    status = OuterStatus.of(_CODES[code], said[0]) if code in _CODES and len(said) == 1 else None
    return (status or OuterStatus.INTERNAL).details
