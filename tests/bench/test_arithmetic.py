"""The harness against loads with known figures; no test looks at a time that this machine took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from bench.latencies import Latencies
from bench.loops import Loop
from bench.measuring import difference, interleaved, ratio, spread
from bench.results import Comparison, Point
from bench.stands import SEALED
from bench.targets import judged
from bench.ways import RefusedError, Spread
from bench.work import Work


class KnownWay:
    """Answers with pieces at given times on its own clock; every tenth exchange is refused."""

    port = 0

    def __init__(self, first: float, gap: float, pieces: int) -> None:
        self.now = 0.0
        self._first, self._gap, self._pieces = first, gap, pieces
        self._sent = 0

    def clock(self) -> float:
        return self.now

    async def send(self, work: Work, body: bytes) -> AsyncIterator[bytes]:
        self._sent += 1
        if self._sent % 10 == 0:
            self.now += 0.001
            raise RefusedError
        for number in range(self._pieces):
            self.now += self._gap if number else self._first
            yield b"12345"

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_closed_loop_counts_and_times() -> None:
    way = KnownWay(first=0.02, gap=0.005, pieces=3)
    outcome = await Loop(way, Work(prompt_bytes=100), clock=way.clock).closed(1, seconds=1e9, at_most=100)
    assert outcome["exchanges"] == 90
    assert outcome["pieces"] == 270
    assert outcome["errors"] == {"refused": 10}
    assert outcome["content"] == {"sent": 90 * len(Work(prompt_bytes=100).body()), "received": 90 * 15}
    assert outcome["seconds"] == pytest.approx(90 * 0.03 + 10 * 0.001)
    assert outcome["first_ms"]["p50"] == pytest.approx(20, rel=0.001)
    assert outcome["latency_ms"]["p99.9"] == pytest.approx(30, rel=0.001)
    assert outcome["gap_ms"]["count"] == 180
    assert outcome["gap_ms"]["p50"] == pytest.approx(outcome["gap_ms"]["max"]) == pytest.approx(5, rel=0.001)


async def test_open_loop_counts_the_wait_before_the_start() -> None:
    """Ten are due in a second, and each delays the rest by a second: no coordinated omission."""
    way = KnownWay(first=1.0, gap=0.0, pieces=1)
    outcome = await Loop(way, Work(), clock=way.clock).open(rate=10, seconds=0.9)
    assert outcome["offered"] == outcome["exchanges"] == 9
    # The n-th of them ends at n seconds and was due at (n - 1) / 10.
    assert outcome["latency_ms"]["max"] == pytest.approx(9_000 - 800, rel=0.15)
    assert outcome["latency_ms"]["p50"] > 3_000


def test_percentiles_of_known_durations() -> None:
    durations = Latencies()
    for milliseconds in range(1, 1_001):
        durations.record(milliseconds / 1_000)
    expected = {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999, "max": 1_000, "count": 1_000}
    summary = durations.summary()
    assert {name: summary[name] for name in expected} == pytest.approx(expected, rel=0.001)


def test_ratios_are_within_rounds() -> None:
    over, under = [{"x": 10.0}, {"x": 30.0}, {"x": 8.0}], [{"x": 5.0}, {"x": 10.0}, {"x": 2.0}]
    assert ratio(over, under, lambda run: run["x"]) == {"median": 3.0, "least": 2.0, "most": 4.0}
    assert difference(over, under, lambda run: run["x"]) == {"median": 6.0, "least": 5.0, "most": 20.0}
    assert spread([]) is None


@pytest.mark.parametrize(("errors", "share"), [({}, 0.9), ({"refused": 1}, 0.0)])
def test_many_streams_with_an_error_miss_their_target(errors: dict[str, int], share: float) -> None:
    made = Comparison("", "", "")
    for count, rate, failed in ((250, 100.0, {}), (2_000, 90.0, errors)):
        made.points.append(Point(count, {SEALED: [{"exchanges_per_second": rate, "errors": failed}]}))
    found = [found for target, found in judged({"side_by_side": made}) if found is not None]
    assert found == [{"median": share, "least": share, "most": share}]


def test_sides_take_turns_in_both_orders() -> None:
    asked: list[str] = []

    class Noted(NamedTuple):
        name: str

        def measure(self, order: object) -> int:
            asked.append(self.name)
            return len(asked)

    sides: Any = [Noted("a"), Noted("b")]
    runs: Any = interleaved(sides, {"seconds": 1.0}, rounds=2)
    assert runs == {"a": [3, 6], "b": [4, 5]}, "a, b to warm up, a, b, then b, a"


def test_few_exchanges_use_few_connections() -> None:
    spreading = Spread(["first", "second"], room=2)
    with spreading.one() as a, spreading.one() as b, spreading.one() as c:
        assert (a, b, c) == ("first", "first", "second")
    with spreading.one() as again:
        assert again == "first"


def test_provider_reads_the_work_from_the_model_name() -> None:
    work = Work(prompt_bytes=10_000, pieces=7, piece_bytes=33, first_seconds=0.25, pieces_per_second=12.5)
    read = Work.of(work.body())
    assert (read.pieces, read.piece_bytes, read.first_seconds, read.pieces_per_second) == (7, 33, 0.25, 12.5)
