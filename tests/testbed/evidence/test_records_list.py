"""The closed list of a relay's records, and that what the relay can write is of it, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindrelay.relay_node import Event, Records
from blindrelay.serving import Address
from blindrelay.testbed.evidence.records_list import EVENTS, OUTCOMES, REPLICA_EVENTS, is_listed

REPLICA = "127.0.0.1:8490"
EXCHANGE = {
    "minute": "2026-01-31T23:59Z",
    "event": "exchange",
    "outcome": "ok",
    "request_bytes": 8_192,
    "response_bytes": 0,
    "seconds": 10,
}


def listed(**changed: Any) -> bool:
    return is_listed(json.dumps({**EXCHANGE, **changed}), {REPLICA})


def test_what_the_relay_can_write_is_on_the_list() -> None:
    written: list[str] = []
    records = Records(written.append)
    for outcome in OUTCOMES:
        for size in (0, 1, 3, 70_000):
            records.exchange(outcome, size, size, size)
    for event in EVENTS:
        records.event(Event(event))
    for event in REPLICA_EVENTS:
        records.event(Event(event), Address("127.0.0.1", 8490))
    assert [line for line in written if not is_listed(line, {REPLICA})] == []
    assert {event.value for event in Event} == EVENTS | REPLICA_EVENTS


@pytest.mark.parametrize(
    "changed",
    [
        {"minute": "2026-01-31T23:59:01Z"},
        {"minute": 29_000_000},
        {"request_bytes": 3_001},
        {"response_bytes": -1},
        {"request_bytes": 8_192.0},
        {"request_bytes": True},
        {"seconds": 4.2},
        {"seconds": 10.0},
        {"seconds": 11},
        {"outcome": "connection reset by 192.0.2.7"},
        {"outcome": ["ok"]},
        {"account": "somebody"},
        {"event": "started"},
        {"event": "debug"},
        {"replica": REPLICA},
    ],
)
def test_anything_else_in_a_record_is_not(changed: dict[str, Any]) -> None:
    assert listed()
    assert not listed(**changed)


@pytest.mark.parametrize("missing", EXCHANGE)
def test_nor_is_a_record_with_less(missing: str) -> None:
    assert not is_listed(json.dumps({key: EXCHANGE[key] for key in EXCHANGE if key != missing}), {REPLICA})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        "I1127 06:49:13.8 9523 hpack_parser.cc:713] authorization: Bearer …",
        "[]",
        '"started"',
        json.dumps({"minute": EXCHANGE["minute"], "event": "replica_up"}),
        json.dumps({"minute": EXCHANGE["minute"], "event": "replica_up", "replica": "192.0.2.7:1"}),
        json.dumps({"minute": EXCHANGE["minute"], "event": "started", "replica": REPLICA}),
    ],
)
def test_nor_is_any_other_line(line: str) -> None:
    assert not is_listed(line, {REPLICA})
