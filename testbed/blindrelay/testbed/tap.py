"""What a tapped relay writes down, and how it is read: one JSON line for each thing that was forwarded."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it imports grpc, and a testbed is often started
    from blindrelay.testing.tapped_channel import Metadata


class Direction(StrEnum):
    """OPEN begins an exchange: its metadata, and no message."""

    OPEN = "open"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Forwarded:
    """One thing that the relay passed on.

    Attributes:
        exchange: counts the exchanges of this relay process, from 1.
        at: Unix seconds.
        size: bytes of the gRPC message.
        first: its first bytes, in hex, as many as the tap keeps.
        metadata: of an OPEN: all that went on with the call; values of keys that end in -bin in hex.
    """

    exchange: int
    direction: Direction
    at: float
    size: int = 0
    first: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


class Tap:
    """Writes what is forwarded to a file. `keep`: how many bytes of each message."""

    def __init__(self, path: Path, keep: int) -> None:
        self._file = path.open("a", encoding="ascii")
        self._keep = keep
        self._exchanges = 0

    def opened(self, metadata: Metadata) -> TappedExchange:
        """Notes that an exchange begins; returns what notes its messages."""
        self._exchanges += 1
        texts = {key: value.hex() if isinstance(value, bytes) else value for key, value in metadata}
        self.write(Forwarded(self._exchanges, Direction.OPEN, time.time(), metadata=texts))
        return TappedExchange(self, self._exchanges)

    def passed(self, exchange: int, direction: Direction, message: bytes) -> None:
        """Notes one message."""
        first = message[: self._keep].hex()
        self.write(Forwarded(exchange, direction, time.time(), len(message), first))

    def write(self, forwarded: Forwarded) -> None:
        """Writes one line, at once."""
        self._file.write(json.dumps(asdict(forwarded)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@dataclass(frozen=True)
class TappedExchange:
    """One exchange under a tap."""

    tap: Tap
    number: int

    def sent(self, message: bytes) -> None:
        """Notes a message to the bridge."""
        self.tap.passed(self.number, Direction.UP, message)

    def received(self, message: bytes) -> None:
        """Notes a message from the bridge."""
        self.tap.passed(self.number, Direction.DOWN, message)


class LineReader:
    """Reads on from where it stopped, so that each line of JSON is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new_lines(self) -> list[Any]:
        """What was noted since the last call. A line that is not complete waits for the next call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole + newline)
        return [json.loads(line) for line in whole.splitlines()]


class TapReader(LineReader):
    """Reads what a tap has noted."""

    def new(self) -> list[Forwarded]:
        """The messages since the last call."""
        return [
            Forwarded(**{**entry, "direction": Direction(entry["direction"])}) for entry in self.new_lines()
        ]
