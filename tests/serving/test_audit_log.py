"""The audit log that relay and bridge share: when lines come, how many, and how little they say."""

from __future__ import annotations

import asyncio
import json
from enum import Enum
from typing import Any

import pytest

from blindrelay.serving import audit_log
from blindrelay.serving.audit_log import MAX_FAULTS, SIZE_CLASSES, AuditLog, write_to_stderr


class Event(Enum):
    STARTED = "it has started"
    BROKEN = "a file is broken"


class Kept(AuditLog):
    """A log that keeps its lines; BROKEN is what a caller could provoke."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append, lambda: 1_700_000_059.9, at_once={Event.STARTED})

    def new(self) -> list[dict[str, Any]]:
        """What was written since the last look, without the minute, which is the same in all."""
        read = [json.loads(line) for line in self.lines]
        self.lines.clear()
        assert {line.pop("minute") for line in read} <= {"2023-11-14T22:14Z"}
        return read


@pytest.fixture
def log() -> Kept:
    return Kept()


COUNTS: dict[str, Any] = {"event": "exchanges"}
STARTED = {"event": "started", "message": "it has started"}
BROKEN = {"event": "broken", "message": "a file is broken"}


def test_nothing_is_written_before_the_report(log: Kept) -> None:
    log.count("ok", 3_000)
    log.note(Event.BROKEN)
    assert log.new() == []
    log.report()
    assert [line["event"] for line in log.new()] == ["broken", "exchanges"]


def test_a_report_comes_also_when_nothing_happened(log: Kept) -> None:
    log.report()
    assert log.new() == [COUNTS]


@pytest.mark.parametrize(("count", "shown"), [(1, 10), (10, 10), (11, 100), (1_000, 1_000), (1_001, 10_000)])
def test_counts_are_rounded_up_to_a_power_of_ten(log: Kept, count: int, shown: int) -> None:
    for _ in range(count):
        log.count("ok", 1)
    log.report()
    assert log.new() == [{**COUNTS, "outcomes": {"ok": shown}, "sizes": {"16384": shown}}]
    assert log.totals == {"ok": count}


@pytest.mark.parametrize("place", range(len(SIZE_CLASSES)))
def test_sizes_are_classes(log: Kept, place: int) -> None:
    limit = SIZE_CLASSES[place]
    log.count("ok", limit)
    log.count("ok", limit + 1)
    log.report()
    names = [str(limit), *map(str, SIZE_CLASSES[place + 1 : place + 2]), "more"][:2]
    assert log.new()[0]["sizes"] == dict.fromkeys(sorted(names), 10)


def test_an_event_is_written_at_once_and_its_repetitions_once_a_minute(log: Kept) -> None:
    for _ in range(1_000):
        log.note(Event.STARTED)
        log.note(Event.BROKEN)
    assert log.new() == [STARTED]
    log.report()
    assert log.new() == [STARTED, BROKEN, COUNTS]
    log.note(Event.STARTED)
    assert log.new() == [STARTED], "a new minute"


def test_of_a_flapping_peer_the_last_state_comes_last(log: Kept) -> None:
    for state in ("up", "down", "up", "down", "up"):
        log.note(Event.STARTED, message=state)
    assert [line["message"] for line in log.new()] == ["up", "down"]
    log.report()
    assert [line["message"] for line in log.new()[:-1]] == ["down", "up"]


def test_a_flood_leaves_a_bounded_volume(log: Kept) -> None:
    """Ten minutes at what one core can refuse: each minute is two lines, of a bounded length."""
    for minute in range(10):
        for number in range(20_000):
            log.count(f"outcome-{number % 12}", number)
            log.note(Event.BROKEN)
        log.report()
        assert len(log.lines) == 2 * (minute + 1)
    assert sum(map(len, log.lines)) < 10 * 1_000


def test_faults_are_places_and_bounded(log: Kept) -> None:
    for number in range(100):
        try:
            exec(compile("\n" * number + "raise ValueError('the canary')", "/srv/x.py", "exec"))
        except ValueError as error:
            log.fault(error)
    log.report()
    faults = [line for line in log.new() if line["event"] == "fault"]
    assert len(faults) == MAX_FAULTS
    assert faults[1]["place"] == "ValueError at x.py:2"


async def test_reports_come_on_the_minute_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However exchanges fall: the minute is a fifth of a second here, and the clock is the event loop's."""
    monkeypatch.setattr(audit_log, "REPORT_EVERY", 0.2)
    clock, at = asyncio.get_running_loop().time, list[float]()
    log = AuditLog(lambda _: at.append(clock()), clock)
    task = asyncio.create_task(log.keep_reporting())
    async with asyncio.timeout(60):
        while len(at) < 4:
            log.count("ok", 1)
            await asyncio.sleep(0.007)
    minutes = [int(time / 0.2) for time in at]
    assert len(set(minutes)) == len(minutes), "no two reports in one"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(at) == 5


def test_a_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Closed())
    write_to_stderr("a line")


def test_what_the_operator_orders_is_written_at_once_with_what_comes_of_it(log: Kept) -> None:
    with log.told(Event.STARTED):
        log.note(Event.BROKEN)
    assert log.new() == [STARTED, BROKEN]
    log.note(Event.BROKEN)
    assert log.new() == []
