"""The closed list of what a relay may write down, and whether a line, and its time, are of that list.

Its words are those of the documentation; only the sentences, which never change, are the code's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from blindrelay.relay_node import Event, Reason
from blindrelay.v1.outer_status import OuterStatus

REPLICA_EVENTS: Final = frozenset({"replica_up", "certificates_unusable", "token_unusable", "plaintext"})
EVENTS: Final = frozenset(
    {"started", "draining", "stopped", "reread", "directories_left_out", "tokens_unreadable"}
    | {"certificates_unusable", "plaintext", "fault", "worker_lost", "envoy_unwritable"}
)
LEDGER_EVENTS: Final = frozenset({"ledger_up", "certificates_unusable", "token_unusable"})
REASONS: Final = frozenset(
    {"name", "refused", "unreachable", "tls", "closed", "silent", "token", "no_directory", "wrong_identity"}
    | {"draining", "unavailable", "other", "fault"}
)
OUTCOMES: Final = frozenset({"ok", "cancelled", *(status.details for status in OuterStatus)})
SIZES: Final = frozenset({"16384", "262144", "4194304", "67108864", "more"})

AT_ONCE: Final = frozenset(
    {"started", "draining", "stopped", "reread", "plaintext", "replica_up", "replica_down", "worker_lost"}
    | {"ledger_up", "ledger_down"}
)
"""Events that no caller can bring about. All other lines leave on the minute, or when the relay ends."""

ON_THE_MINUTE: Final = 1 / 3
"""The part of a minute, from its beginning, within which they leave, on a busy machine."""

_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")
_SENTENCES: Final = frozenset(str(each.value) for each in (*Event, *Reason))

Fields = dict[str, Callable[[object], bool]]


def is_listed(line: str, replicas: Collection[str], ledgers: Collection[str] = ()) -> bool:
    """Whether a line of a relay's log is of the list. The addresses are those in its configuration."""
    record = _record(line)
    return any(
        record.keys() == fields.keys() and all(is_right(record[name]) for name, is_right in fields.items())
        for fields in _kinds(replicas, ledgers)
    )


def untimely(lines: Iterable[tuple[float, str]], minute: float = 60.0) -> Iterator[str]:
    """Of lines with the Unix seconds at which they came, those whose time says when somebody asked."""
    for came, line in lines:
        record = _record(line)
        if record and came % minute > minute * ON_THE_MINUTE and record.get("event") not in AT_ONCE:
            yield line


def counted(lines: Iterable[str]) -> int:
    """How many exchanges the lines count, at most."""
    return sum(count for line in lines for count in _record(line).get("outcomes", {}).values())


def _record(line: str) -> dict[str, Any]:
    """The line as an object; {} if it is something else, which is_listed() reports."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _kinds(replicas: Collection[str], ledgers: Collection[str]) -> Iterator[Fields]:
    minute: Fields = {"minute": lambda value: isinstance(value, str) and bool(_STAMP.fullmatch(value))}
    said: Fields = {"message": _one_of(_SENTENCES)}
    replica: Fields = {"replica": _one_of(replicas)}
    yield {**minute, "event": _one_of(EVENTS), **said}
    yield {**minute, "event": _one_of(REPLICA_EVENTS), **replica, **said}
    yield {**minute, "event": _one_of({"replica_down"}), **replica, "reason": _one_of(REASONS), **said}
    ledger: Fields = {"ledger": _one_of(ledgers)}
    yield {**minute, "event": _one_of(LEDGER_EVENTS), **ledger, **said}
    yield {**minute, "event": _one_of({"ledger_down"}), **ledger, "reason": _one_of(REASONS), **said}
    outcomes: Fields = {"outcomes": _counts(OUTCOMES)}
    for more in ({}, outcomes, {**outcomes, "sizes": _counts(SIZES)}):
        yield {**minute, "event": _one_of({"exchanges"}), **more}


def _one_of(words: Collection[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


def _counts(names: Collection[str]) -> Callable[[object], bool]:
    """Powers of ten from 10 up, by these names."""

    def is_right(value: object) -> bool:
        return (
            isinstance(value, dict)
            and bool(value)
            and all(type(count) is int and re.fullmatch("10+", str(count)) for count in value.values())
            and value.keys() <= set(names)
        )

    return is_right
