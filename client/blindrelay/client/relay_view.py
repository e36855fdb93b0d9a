"""What a relay can see of an exchange: its envelope, and the size and time of each message.

The client notes it where it reads and writes gRPC messages. It contains nothing that is sealed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from blindrelay.v1.envelope_pb2 import Envelope

Direction = Literal["up", "down"]

KEPT_PASSINGS: Final = 1_000
"""Messages that are kept of one exchange. A response may have a hundred thousand."""


class Passing(NamedTuple):
    """One message, as the relay sees it.

    Attributes:
        seconds: since the exchange began.
        direction: up to the bridge, or down to the client.
        size: bytes of the gRPC message, which is a sealed record and a few more bytes.
    """

    seconds: float
    direction: Direction
    size: int


@dataclass
class RelayView:
    """What the relay can see of one exchange, besides its token and its network address.

    Attributes:
        envelope: which the relay can read.
        envelope_size: bytes.
        began: Unix seconds.
        passings: the first KEPT_PASSINGS messages; grows while the exchange runs.
        passed: the number of messages so far.
        seconds: the time of the last message since the exchange began.
    """

    envelope: Envelope
    envelope_size: int
    began: float = field(default_factory=time.time)
    passings: list[Passing] = field(default_factory=list)
    passed: int = 0
    seconds: float = 0.0
    _bytes: dict[Direction, int] = field(default_factory=lambda: {"up": 0, "down": 0}, repr=False)
    _origin: float = field(default_factory=time.monotonic, repr=False)

    def note(self, direction: Direction, size: int) -> None:
        """Notes a message of that many bytes."""
        self.seconds = time.monotonic() - self._origin
        self.passed += 1
        self._bytes[direction] += size
        if len(self.passings) < KEPT_PASSINGS:
            self.passings.append(Passing(self.seconds, direction, size))

    def total(self, direction: Direction) -> int:
        """The bytes in that direction so far."""
        return self._bytes[direction]


Observer = Callable[[RelayView], None]
"""Called with the view of each exchange when it begins, in the thread of its event loop."""
