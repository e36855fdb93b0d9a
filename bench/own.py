"""Your own relay and bridge: the same loads, by a connection string, with a body that your provider takes.

One call is tried first, so that a wrong address or token is one sentence. The number of calls is bounded and
known before any is sent, since the provider may bill them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from bench.chain import Generator, UnavailableError
from bench.measuring import Side, interleaved
from bench.results import Comparison, Point
from bench.work import Work


@dataclass(frozen=True)
class Own:
    """What is measured.

    Attributes:
        connection: a connection string.
        url: the provider's base URL, as the bridge knows it.
        direct: another base URL, perhaps the provider's own, to compare with; or None.
        body: of every request, JSON.
        pids: processes on this machine whose CPU and memory are read, by name.
        concurrency, rate: a closed loop, or, with a rate, an open one.
        seconds, rounds: a round ends after so many seconds, and there are so many rounds.
        calls: of one round at most, on each side.
    """

    connection: str
    url: str
    direct: str | None
    body: str
    pids: Mapping[str, int]
    concurrency: int
    rate: float | None
    seconds: float
    rounds: int
    calls: int

    @property
    def calls_at_most(self) -> int:
        """Calls that may be sent, all told: on each side one to try it, one to warm up, and the rounds."""
        sides = 1 if self.direct is None else 2
        return sides * (2 + self.rounds * self._calls_a_round)

    @property
    def _calls_a_round(self) -> int:
        return self.calls if self.rate is None else min(self.calls, round(self.rate * self.seconds))

    def order(self) -> dict[str, Any]:
        """The order for a round (bench/load.py)."""
        common = {"work": asdict(Work()), "body": self.body}
        if self.rate is not None:
            seconds = min(self.seconds, self._calls_a_round / self.rate)
            return {**common, "do": "open", "rate": self.rate, "seconds": seconds}
        closed = {"concurrency": self.concurrency, "at_most": self.calls}
        return {**common, "do": "closed", "seconds": self.seconds, **closed}

    def one_call(self) -> dict[str, Any]:
        """The order for a single call."""
        single = {"do": "closed", "concurrency": 1, "at_most": 1, "seconds": self.seconds}
        return {"work": asdict(Work()), "body": self.body, **single}


def own(given: Own) -> Comparison:
    """One comparison with one point. Everything that is sent may be billed.

    Raises UnavailableError if the first call of a side fails.
    """
    limits = "Whatever lies between here and there, and what your provider does."
    made = Comparison("Your relay and bridge", f"{given.seconds:g} s a round, {given.rounds} rounds.", limits)
    ways: dict[str, tuple[str, dict[str, str], Mapping[str, int]]] = {
        "sealed": ("sealed", {"connection": given.connection, "url": given.url}, given.pids)
    }
    if given.direct is not None:
        ways["straight"] = ("http", {"url": given.direct}, {})
    with ExitStack() as stack:
        sides = [
            Side(name, stack.enter_context(Generator(way, where, given.concurrency)), pids)
            for name, (way, where, pids) in ways.items()
        ]
        for side in sides:
            _try(side, given)
        made.points.append(Point("", interleaved(sides, given.order(), given.rounds, given.one_call())))
    return made


def _try(side: Side, given: Own) -> None:
    outcome = side.generator.ask(given.one_call())
    for error in outcome["errors"]:
        raise UnavailableError(f"the first call ({side.name}) failed: {error}")
