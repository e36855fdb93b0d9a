"""The audit log of relay and bridge: when lines are written, how many, and how little they tell."""

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


class KeptLog(AuditLog):
    """A log that keeps its lines. A caller could cause BROKEN."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        super().__init__(self.lines.append, lambda: 1_700_000_059.9, at_once={Event.STARTED})

    def new(self) -> list[dict[str, Any]]:
        """The lines since the last call of this, without the minute."""
        read = [json.loads(line) for line in self.lines]
        self.lines.clear()
        assert {line.pop("minute") for line in read} <= {"2023-11-14T22:14Z"}
        return read


@pytest.fixture
def log() -> KeptLog:
    return KeptLog()


COUNTS: dict[str, Any] = {"event": "exchanges"}
STARTED = {"event": "started", "message": "it has started"}
BROKEN = {"event": "broken", "message": "a file is broken"}


@pytest.mark.parametrize(("count", "shown"), [(1, 10), (10, 10), (11, 100), (1_000, 1_000), (1_001, 10_000)])
def test_counts_wait_and_are_rounded_up_to_a_power_of_ten(log: KeptLog, count: int, shown: int) -> None:
    for _ in range(count):
        log.count("ok", 1)
    assert (log.new(), log.totals) == ([], {})
    log.report()
    assert log.new() == [{**COUNTS, "outcomes": {"ok": shown}, "sizes": {"16384": shown}}]
    assert log.totals == {"ok": count}
    log.report()
    assert log.new() == [COUNTS], "also when nothing has happened"


@pytest.mark.parametrize("place", range(len(SIZE_CLASSES)))
def test_sizes_are_classes(log: KeptLog, place: int) -> None:
    limit = SIZE_CLASSES[place]
    log.count("ok", limit)
    log.count("ok", limit + 1)
    log.report()
    names = [str(limit), *map(str, SIZE_CLASSES[place + 1 : place + 2]), "more"][:2]
    assert log.new()[0]["sizes"] == dict.fromkeys(sorted(names), 10)


def test_repeated_event_is_written_twice_a_minute_at_most(log: KeptLog) -> None:
    """What a caller causes waits for the report, and what an operator orders does not."""
    for _ in range(1_000):
        log.note(Event.STARTED)
        log.note(Event.BROKEN)
    assert log.new() == [STARTED]
    log.report()
    assert log.new() == [STARTED, BROKEN, COUNTS]
    with log.told(Event.STARTED):
        log.note(Event.BROKEN)
    assert log.new() == [STARTED, BROKEN], "in a new minute"
    log.note(Event.BROKEN)
    assert log.new() == []


def test_latest_state_of_a_flapping_peer_is_written_last(log: KeptLog) -> None:
    for state in ("up", "down", "up", "down", "up"):
        log.note(Event.STARTED, message=state)
    log.report()
    assert [line["message"] for line in log.new()[:-1]] == ["up", "down", "down", "up"]


def test_faults_are_places_and_bounded(log: KeptLog) -> None:
    for number in range(100):
        try:
            exec(compile("\n" * number + "raise ValueError('the canary')", "/srv/x.py", "exec"))
        except ValueError as error:
            log.fault(error)
    assert log.new() == []
    log.report()
    *faults, _ = log.new()
    assert len(faults) == MAX_FAULTS
    assert faults[1] == {"event": "fault", "place": "ValueError at x.py:2"}


async def test_reports_come_on_the_minute_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever exchanges end. Here a minute is 0.2 s, and the clock is that of the event loop."""
    monkeypatch.setattr(audit_log, "REPORT_EVERY", 0.2)
    clock, times = asyncio.get_running_loop().time, list[float]()
    log = AuditLog(lambda _: times.append(clock()), clock)
    task = asyncio.create_task(log.keep_reporting())
    async with asyncio.timeout(60):
        while len(times) < 4:
            log.count("ok", 1)
            await asyncio.sleep(0.007)
    minutes = [int(time / 0.2) for time in times]
    assert len(set(minutes)) == len(minutes), "at most one report in each"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(times) == 5


def test_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("sys.stderr.write", broken)
    write_to_stderr("a line")
