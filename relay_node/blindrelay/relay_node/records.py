"""All that a relay ever writes down: JSON lines on stderr, of a closed list of blurred fields.

An exchange:  minute, event "exchange", outcome, request_bytes, response_bytes, seconds
Anything else: minute, event, and for events about a replica its address as it is configured

`minute` is the time cut to the minute, `outcome` is "ok", "cancelled" or an outer status, sizes are rounded
up to a power of two, `seconds` is rounded up to a step of DURATION_CLASSES (null beyond the last). Nothing
says who called, with which token, from where, or which exchange it was.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from blindrelay.serving import Address

DURATION_CLASSES: Final = (1, 10, 60, 600, 3_600, 21_600)
"""Seconds: "at once", and then the protocol's deadline classes with one step between."""


class Event(Enum):
    """What can be recorded besides exchanges."""

    STARTED = "started"
    DRAINING = "draining"
    STOPPED = "stopped"
    REPLICA_UP = "replica_up"
    REPLICA_DOWN = "replica_down"
    REPLICA_REFUSES_TOKEN = "replica_refuses_token"  # noqa: S105 - the name of an event
    DIRECTORIES_LEFT_OUT = "directories_left_out"
    TOKENS_UNREADABLE = "tokens_unreadable"
    TOKEN_UNUSABLE = "token_unusable"  # noqa: S105 - the name of an event
    CERTIFICATES_UNUSABLE = "certificates_unusable"
    REREAD = "reread"
    PLAINTEXT = "plaintext"
    WORKER_LOST = "worker_lost"
    FAULT = "fault"


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Records:
    """The only way to a log. `write` takes a line, `clock` gives Unix seconds."""

    def __init__(
        self, write: Callable[[str], None] = _to_stderr, clock: Callable[[], float] = time.time
    ) -> None:
        self._write = write
        self._clock = clock

    def exchange(self, outcome: str, request_bytes: int, response_bytes: int, seconds: float) -> None:
        """Records one exchange that has ended, blurred."""
        self._line(
            event="exchange",
            outcome=outcome,
            request_bytes=_power_of_two(request_bytes),
            response_bytes=_power_of_two(response_bytes),
            seconds=next((limit for limit in DURATION_CLASSES if seconds <= limit), None),
        )

    def event(self, event: Event, replica: Address | None = None) -> None:
        """Records that something happened to the relay, or to a replica by its configured address."""
        if replica is None:
            self._line(event=event.value)
        else:
            self._line(event=event.value, replica=str(replica))

    def _line(self, **fields: str | int | None) -> None:
        minute = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(self._clock()))
        self._write(json.dumps({"minute": minute, **fields}))


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length() if size else 0
