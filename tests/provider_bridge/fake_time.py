"""The bridge's clock under a test's hand."""

from __future__ import annotations

from blindrelay.provider_bridge.clock import Clock

W = 300
START = 1_000_000


class FakeTime:
    """A wall clock and a monotonic clock that a test moves."""

    def __init__(self, wall: float = START) -> None:
        self.wall = wall
        self.monotonic = 50.0
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds
