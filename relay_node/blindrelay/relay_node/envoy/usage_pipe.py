"""What Envoy writes of each exchange that it forwards: one line at its start, one at its end."""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from blindrelay.v1.outer_status import OuterStatus

_MAX_LINE: Final = 8_192
"""Bytes. A lease is the largest part of a line; Envoy accepts 8 KiB of headers in all."""

_READ: Final = 65_536
_CLIENT_LEFT: Final = frozenset({"DC", "DR"})
"""Flags for a connection that ended, and a stream that was reset."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Start:
    """An exchange that Envoy has taken, before its admission.

    Attributes:
        envelope: exact bytes.
        lease: what the client shows.
    """

    envelope: bytes
    lease: str


@dataclass(frozen=True)
class End:
    """The end of an exchange. `outcome` is "ok", "cancelled" or an outer status."""

    envelope: bytes
    outcome: str
    request_bytes: int
    response_bytes: int


@contextmanager
def usage_from(pipe: Path, take: Callable[[Start | End], None]) -> Iterator[None]:
    """Hands over each line while the block runs. A line that cannot be read is passed over."""
    # Open for writing, too: else the pipe would end with each Envoy.
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    rest = bytearray()

    def read() -> None:
        rest.extend(os.read(descriptor, _READ))
        *lines, last = bytes(rest).split(b"\n")
        rest[:] = last[-_MAX_LINE:]
        for line in lines:
            if (usage := read_line(line)) is not None:
                take(usage)

    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def read_line(line: bytes) -> Start | End | None:
    """One line, or None if it is not one that the configuration asks Envoy for."""
    kind, *fields = line.decode("ascii", "replace").split(" ")
    try:
        if kind == "start":
            envelope, scheme, lease = fields
            return Start(_envelope(envelope), lease) if scheme == "Bearer" else None
        if kind == "end":
            envelope, code, first, last, received, sent, flags = fields
            message = last if first == "-" else first
            return End(_envelope(envelope), _outcome(code, message, flags), int(received), int(sent))
    except ValueError:
        pass
    return None


def _envelope(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


def _outcome(code: str, message: str, flags: str) -> str:
    if code == "0":
        return "ok"
    if code == "1" or not _CLIENT_LEFT.isdisjoint(flags.split(",")):
        return "cancelled"
    status = OuterStatus.of(_CODES[int(code)], message) if int(code) in _CODES else None
    return (status or OuterStatus.INTERNAL).details
