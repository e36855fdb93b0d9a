"""What a relay can see of an exchange: its envelope, and the size and time of each message that passes.

It is noted where the client reads and writes gRPC messages, for whoever wants to show it; nothing that is
sealed comes here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from blindrelay.v1.envelope_pb2 import Envelope

Direction = Literal["up", "down"]

KEPT_PASSINGS: Final = 1_000
"""Of one exchange: a response may have a hundred thousand."""


class Passing(NamedTuple):
    """One message as the relay passes it on.

    Attributes:
        seconds: since the exchange began.
        direction: up to the bridge, or down to the client.
        size: bytes of the gRPC message: a sealed record and a few bytes around it.
    """

    seconds: float
    direction: Direction
    size: int


@dataclass
class RelayView:
    """What the relay can see of one exchange, beside whose token it came with and from which address.

    Attributes:
        envelope: as it was sent, readable for the relay.
        envelope_size: its bytes.
        began: Unix seconds.
        passings: grows while the exchange runs; the first KEPT_PASSINGS.
        passed: how many there were.
        seconds: since the exchange began, of the last one.
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
        """Bytes that passed that way."""
        return self._bytes[direction]


Observer = Callable[[RelayView], None]
"""Is given the view of each exchange when it begins, in the thread of its event loop."""
