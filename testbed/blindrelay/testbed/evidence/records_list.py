"""The closed list of what a relay may write down, and whether a line is of that list.

It says the same as relay_node's records.py, and was written from its documentation, not from its code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from typing import Final

from blindrelay.v1.outer_status import OuterStatus

REPLICA_EVENTS: Final = frozenset(
    {
        "replica_up",
        "replica_down",
        "replica_refuses_token",
        "replica_foreign_identity",
        "certificates_unusable",
        "plaintext",
    }
)
EVENTS: Final = frozenset(
    {"started", "draining", "stopped", "directories_left_out", "tokens_unreadable"}
    | {"certificates_unusable", "plaintext", "fault", "worker_lost"}
)
OUTCOMES: Final = frozenset({"ok", "cancelled", *(status.details for status in OuterStatus)})
SECONDS: Final = (1, 10, 60, 600, 3_600, 21_600)

_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")

Fields = dict[str, Callable[[object], bool]]


def is_listed(line: str, replicas: Collection[str]) -> bool:
    """Whether a line of a relay's log is of the list; `replicas` are the addresses in its configuration."""
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and any(
        record.keys() == fields.keys() and all(is_right(record[name]) for name, is_right in fields.items())
        for fields in _kinds(replicas)
    )


def _kinds(replicas: Collection[str]) -> tuple[Fields, ...]:
    exchange: Fields = {
        "minute": _is_a_minute,
        "event": _one_of({"exchange"}),
        "outcome": _one_of(OUTCOMES),
        "request_bytes": _is_a_power_of_two,
        "response_bytes": _is_a_power_of_two,
        "seconds": lambda value: value is None or (type(value) is int and value in SECONDS),
    }
    of_a_replica: Fields = {
        "minute": _is_a_minute,
        "event": _one_of(REPLICA_EVENTS),
        "replica": _one_of(replicas),
    }
    return exchange, of_a_replica, {"minute": _is_a_minute, "event": _one_of(EVENTS)}


def _one_of(words: Collection[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


def _is_a_minute(value: object) -> bool:
    return isinstance(value, str) and _MINUTE.fullmatch(value) is not None


def _is_a_power_of_two(value: object) -> bool:
    """Or nothing. Each is a size that PADMÉ would leave as it is; there are fewer of them."""
    return type(value) is int and value >= 0 and value & (value - 1) == 0
