"""Your own relay and bridge: the same loads, by a connection string, with a body that your provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from bench.chain import Generator
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


def own(given: Own) -> Comparison:
    """One comparison with one point. Everything that is sent may be billed."""
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
        order = _order(given)
        warm = {**order, "do": "closed", "concurrency": 1, "at_most": 1}
        warm.pop("rate", None)
        made.points.append(Point("", interleaved(sides, order, given.rounds, warm)))
    return made


def _order(given: Own) -> dict[str, Any]:
    common = {"work": asdict(Work()), "body": given.body, "seconds": given.seconds}
    if given.rate is not None:
        return {**common, "do": "open", "rate": given.rate}
    return {**common, "do": "closed", "concurrency": given.concurrency}
