"""The closed list of a relay's log, and that what the relay can write is of it, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindrelay.relay_node import AuditLog, Event, Reason
from blindrelay.serving import Address
from blindrelay.serving.audit_log import SIZE_CLASSES
from blindrelay.testbed.evidence import closed_list
from blindrelay.testbed.evidence.closed_list import counted, is_listed, untimely

REPLICA = "127.0.0.1:8490"
MINUTE_NAME = "2026-01-31T23:59Z"
UP = {"minute": MINUTE_NAME, "event": "replica_up", "message": Event.REPLICA_UP.value}
COUNTS = {
    "minute": MINUTE_NAME,
    "event": "exchanges",
    "outcomes": {"ok": 100, "cancelled": 10},
    "sizes": {"16384": 100},
}
MINUTE = 29_000_000 * 60.0


def test_every_line_that_the_relay_can_write_is_listed() -> None:
    written: list[str] = []
    log = AuditLog(written.append)
    log.report()
    for outcome in closed_list.OUTCOMES:
        log.exchange(outcome, 0, 0)
    log.report()
    for size in (0, 1, *SIZE_CLASSES, SIZE_CLASSES[-1] + 1):
        log.exchange("ok", size, size)
    for event in closed_list.EVENTS:
        log.event(Event[event.upper()])
    for event in closed_list.REPLICA_EVENTS:
        log.event(Event[event.upper()], Address("127.0.0.1", 8490))
    for reason in Reason:
        log.event(Event.REPLICA_DOWN, Address("127.0.0.1", 8490), reason)
        log.ledger(Event.LEDGER_DOWN, Address("127.0.0.1", 8500), reason)
    for event in closed_list.LEDGER_EVENTS:
        log.ledger(Event[event.upper()], Address("127.0.0.1", 8500))
    log.report()
    assert [line for line in written if not is_listed(line, {REPLICA}, {"127.0.0.1:8500"})] == []
    assert {event.name.lower() for event in Event} == (
        closed_list.EVENTS
        | closed_list.REPLICA_EVENTS
        | closed_list.LEDGER_EVENTS
        | {"replica_down", "ledger_down"}
    )
    assert {reason.name.lower() for reason in Reason} == closed_list.REASONS


CHANGED: list[dict[str, Any]] = [
    {"minute": "2026-01-31T23:59:01Z"},
    {"minute": 29_000_000},
    *(
        {"outcomes": wrong}
        for wrong in ({"ok": 3}, {"ok": 10.0}, {"ok": True}, {"reset by 192.0.2.7": 10}, ["ok"], {})
    ),
    {"sizes": {"3001": 10}},
    {"account": "somebody"},
    {"event": "started"},
    {"event": "debug"},
    {"replica": REPLICA},
    {"message": "192.0.2.7 asked"},
]
OTHERS = [
    "",
    "Traceback (most recent call last):",
    "I1127 06:49:13.8 9523 hpack_parser.cc:713] authorization: Bearer …",
    "[]",
    '"started"',
    json.dumps({"minute": MINUTE_NAME, "event": "exchange", "outcome": "ok"}),
    json.dumps(UP),
    json.dumps({**UP, "replica": "x:1"}),
    json.dumps({**UP, "event": "started", "replica": REPLICA}),
]


@pytest.mark.parametrize("line", [*OTHERS, *(json.dumps({**COUNTS, **changed}) for changed in CHANGED)])
def test_other_line_is_not_listed(line: str) -> None:
    assert is_listed(json.dumps(COUNTS), {REPLICA})
    assert not is_listed(line, {REPLICA})


@pytest.mark.parametrize(
    ("second", "event", "is_untimely"),
    [(0.1, "exchanges", False), (30.0, "exchanges", True), (59.9, "tokens_unreadable", True)]
    + [(30.0, event, False) for event in ("started", "draining", "replica_down")],
)
def test_lines_that_callers_can_cause_must_come_on_the_minute(
    second: float, event: str, is_untimely: bool
) -> None:
    line = json.dumps({**COUNTS, "event": event})
    assert list(untimely([(MINUTE + second, line)])) == ([line] if is_untimely else [])


def test_exchanges_are_counted_over_all_lines() -> None:
    assert counted([json.dumps(COUNTS), "nonsense", json.dumps(COUNTS)]) == 220
