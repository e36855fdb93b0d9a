"""Log and metrics: when lines are written, how little they tell, and that nobody can block the scrapes."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from blindrelay.serving import Address, ConfigError, StartError, audit_log, read_config
from blindrelay.serving.audit_log import MAX_FAULTS, SIZE_CLASSES, AuditLog, write_to_stderr
from blindrelay.serving.metrics import Metric, exposed_metrics, read_metrics_address
from blindrelay.serving.metrics_server import MAX_SCRAPES
from tests.patience import PATIENCE


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
    async with asyncio.timeout(PATIENCE):
        while len(times) < 4:
            log.count("ok", 1)
            await asyncio.sleep(0.007)
    minutes = [int(time / 0.2) for time in times]
    assert len(set(minutes)) == len(minutes), "at most one report in each"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(times) == 5


def test_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def broken(text: str) -> None:
        tried.append(text)
        raise BrokenPipeError

    monkeypatch.setattr("sys.stderr.write", broken)
    write_to_stderr("a line")
    assert "".join(tried).startswith("a line")


ANYWHERE = Address("127.0.0.1", 0)
METRICS = (
    Metric("room_temperature", "Degrees.", lambda: 20.5),
    Metric("nothing_yet", "Absent.", lambda: None),
    Metric("visits_total", "Visits.", lambda: {"friend": 2, "stranger": 1}, label="by"),
)
SHOWN = [
    "# TYPE room_temperature gauge",
    "room_temperature 20.5",
    "# TYPE nothing_yet gauge",
    "# TYPE visits_total counter",
    'visits_total{by="friend"} 2.0',
    'visits_total{by="stranger"} 1.0',
]


async def ask(address: Address | None, request: bytes = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n") -> bytes:
    """Everything that the server sends."""
    assert address is not None
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_only_the_given_metrics_are_exposed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with exposed_metrics(ANYWHERE, METRICS) as address:
        assert await ask(address, b"GET /metrics HTTP/1.1\r\nx: " + b"y" * 100_000) == b"", "too long"
        head, _, page = (await ask(address)).partition(b"\r\n\r\n")
        for other in (b"GET / HTTP/1.1", b"POST /metrics HTTP/1.1", b"nonsense"):
            assert (await ask(address, other + b"\r\n\r\n")).startswith(b"HTTP/1.0 404")
        monkeypatch.setattr("blindrelay.serving.metrics_server.SCRAPE_SECONDS", 0.05)
        async with asyncio.timeout(PATIENCE):
            assert await ask(address, b"GET /metrics") == b"", "silent"
    assert [line for line in page.decode().splitlines() if not line.startswith("# HELP")] == SHOWN
    assert head.startswith(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain")


async def test_silent_connections_are_bounded_and_end_with_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("blindrelay.serving.metrics_server.SCRAPE_SECONDS", PATIENCE)
    async with exposed_metrics(ANYWHERE, METRICS) as address:
        assert address is not None
        silent = [await asyncio.open_connection(address.host, address.port) for _ in range(MAX_SCRAPES)]
        assert await ask(address) == b"", "one too many is closed"
        silent[0][1].close()
        await silent[0][1].wait_closed()
        async with asyncio.timeout(PATIENCE):
            while not await ask(address):
                pass
    async with asyncio.timeout(PATIENCE):
        for reader, writer in silent[1:]:
            with suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_taken_port_is_an_error() -> None:
    async with exposed_metrics(ANYWHERE, METRICS) as address:
        with pytest.raises(StartError, match="cannot expose metrics on 127"):
            async with exposed_metrics(address, METRICS):
                pass


async def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match=r'pip install "blindrelay\[metrics\]"'):
        async with exposed_metrics(ANYWHERE, METRICS):
            pass


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "metrics.example:9464"])
def test_address_off_loopback_is_rejected(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text('metrics = "[::1]:1"')
    assert read_config(file, read_metrics_address) == Address("::1", 1)
    file.write_text(f'metrics = "{text}"')
    with pytest.raises(ConfigError, match="open to other machines"):
        read_config(file, read_metrics_address)
