"""The closed list of what a relay may write down, and whether a line, and its time, are of that list.

It says the same as the audit log of relay and serving, and was written from its documentation, not from its code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from blindrelay.v1.outer_status import OuterStatus

REPLICA_EVENTS: Final = frozenset({"replica_up", "certificates_unusable", "plaintext"})
EVENTS: Final = frozenset(
    {"started", "draining", "stopped", "directories_left_out", "tokens_unreadable"}
    | {"certificates_unusable", "plaintext", "fault", "worker_lost"}
)
REASONS: Final = frozenset(
    {"name", "refused", "unreachable", "tls", "closed", "silent", "token", "no_directory", "wrong_identity"}
    | {"draining", "unavailable", "other", "fault"}
)
OUTCOMES: Final = frozenset({"ok", "cancelled", *(status.details for status in OuterStatus)})
SIZES: Final = frozenset({"16384", "262144", "4194304", "67108864", "more"})

AT_ONCE: Final = frozenset({"started", "draining", "stopped", "plaintext", "replica_up", "replica_down", "worker_lost"})
"""Events that no caller can bring about. All other lines leave on the minute, or when the relay ends."""

ON_THE_MINUTE: Final = 5.0
"""Seconds past the minute within which they leave, on a busy machine."""

_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")
_SENTENCE: Final = re.compile(r"[A-Za-z0-9,;:'\[\]._ -]{1,120}")

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


def untimely(lines: Sequence[tuple[float, str]], replicas: Collection[str]) -> Iterator[str]:
    """Lines, given with the Unix seconds at which they came, that came neither on the minute nor as AT_ONCE.

    Whoever stamps lines would learn from these when somebody asked.
    """
    for came, line in lines:
        if came % 60 > ON_THE_MINUTE and not (is_listed(line, replicas) and _event(line) in AT_ONCE):
            yield line


def _event(line: str) -> str:
    return str(json.loads(line)["event"])


def _kinds(replicas: Collection[str]) -> Iterator[Fields]:
    minute: Fields = {"minute": lambda value: isinstance(value, str) and bool(_MINUTE.fullmatch(value))}
    said: Fields = {"message": lambda value: isinstance(value, str) and bool(_SENTENCE.fullmatch(value))}
    replica: Fields = {"replica": _one_of(replicas)}
    yield {**minute, "event": _one_of(EVENTS), **said}
    yield {**minute, "event": _one_of(REPLICA_EVENTS), **replica, **said}
    yield {**minute, "event": _one_of({"replica_down"}), **replica, "reason": _one_of(REASONS), **said}
    outcomes: Fields = {"outcomes": _counts(OUTCOMES)}
    for more in ({}, outcomes, {**outcomes, "sizes": _counts(SIZES)}):
        yield {**minute, "event": _one_of({"exchanges"}), **more}


def _one_of(words: Collection[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


def _counts(names: Collection[str]) -> Callable[[object], bool]:
    """Powers of ten from 10 up, by these names."""
    return lambda value: (
        isinstance(value, dict)
        and bool(value)
        and all(
            name in names and type(count) is int and re.fullmatch("10+", str(count)) for name, count in value.items()
        )
    )
