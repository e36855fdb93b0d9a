"""The lines that a relay writes to its ledger: the start and the end of each exchange (annex E).

A line is kept until the ledger has it in its books, over lost connections and restarts of the ledger.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from blindrelay.serving import CallRefusedError
from blindrelay.v1.ledger_pb2 import ReportLines
from blindrelay.v1.outer_status import OuterStatus

_Line = Mapping[str, Mapping[str, object]]
"""The fields of a ReportLine. To make a message of each line and copy it into a batch costs twice as much."""

MAX_LINES: Final = 100_000
"""Lines that wait for the ledger: some 50 MB. When there are that many, no exchange starts."""

BATCH_LINES: Final = 400
"""Lines in one message: at most some 70 KB. gRPC allows 128."""


class Report:
    """Numbers the lines, from 1 on, and keeps them until they are acknowledged."""

    def __init__(self) -> None:
        self._lines: deque[_Line] = deque()
        self._first = 1
        self._running = 0
        self.written = asyncio.Event()
        """Is set by each new line."""
        self.settled = asyncio.Event()
        """Is set while no line waits for the ledger."""
        self.settled.set()

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def first(self) -> int:
        """The number of the oldest line that is not acknowledged."""
        return self._first

    def start(self, lease_id: str, envelope: bytes, deadline_seconds: int) -> int:
        """Adds the line of an exchange that starts, and returns its number.

        Raises CallRefusedError, OVERLOADED, if there is no room for this line and the end of each exchange.
        """
        if len(self._lines) + self._running + 2 > MAX_LINES:
            raise CallRefusedError(OuterStatus.OVERLOADED, retry_after=1)
        self._running += 1
        return self._write(
            {"start": {"lease_id": lease_id, "envelope": envelope, "deadline_seconds": deadline_seconds}}
        )

    def end(self, start: int, outcome: str, request_bytes: int, response_bytes: int) -> None:
        """Adds the line about the end of the exchange whose start has this number."""
        self._running -= 1
        self._write(
            {
                "end": {
                    "start_sequence": start,
                    "outcome": outcome,
                    "request_bytes": request_bytes,
                    "response_bytes": response_bytes,
                }
            }
        )

    def acknowledge(self, sequence: int) -> None:
        """Drops the lines up to this number, inclusive."""
        while self._lines and self._first <= sequence:
            self._lines.popleft()
            self._first += 1
        if not self._lines:
            self.settled.set()

    def batch(self, sequence: int) -> ReportLines | None:
        """At most BATCH_LINES lines from this number on, or None if there are none."""
        first = max(sequence, self._first)
        skipped = first - self._first
        lines: list[Any] = list(islice(self._lines, skipped, skipped + BATCH_LINES))
        return ReportLines(first_sequence=first, lines=lines) if lines else None

    def _write(self, line: _Line) -> int:
        self._lines.append(line)
        self.written.set()
        self.settled.clear()
        return self._first + len(self._lines) - 1
