"""What a tapped relay writes down, and how it is read: one JSON line for each thing that was forwarded."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


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

    def opened(self, metadata: dict[str, str]) -> int:
        """Notes that an exchange begins; returns its number."""
        self._exchanges += 1
        self._write(Forwarded(self._exchanges, Direction.OPEN, time.time(), metadata=metadata))
        return self._exchanges

    def passed(self, exchange: int, direction: Direction, message: bytes) -> None:
        """Notes one message."""
        first = message[: self._keep].hex()
        self._write(Forwarded(exchange, direction, time.time(), len(message), first))

    def close(self) -> None:
        """Ends the file; all of it is written already."""
        self._file.close()

    def _write(self, forwarded: Forwarded) -> None:
        self._file.write(json.dumps(asdict(forwarded)) + "\n")
        self._file.flush()


class TapReader:
    """Reads on from where it stopped, so that whoever watches a long time reads each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> list[Forwarded]:
        """What was noted since the last call, in order; a line that is being written waits for the next."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole + newline)
        entries = [json.loads(line) for line in whole.splitlines()]
        return [Forwarded(**{**entry, "direction": Direction(entry["direction"])}) for entry in entries]
