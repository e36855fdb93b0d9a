"""The audit log of relay and bridge: JSON lines on stderr, from a closed list. Exchanges are only counted.

    {"minute": "2026-01-31T23:59Z", "event": "started", "message": "…"}
    {"minute": "2026-01-31T23:59Z", "event": "exchanges", "outcomes": {"ok": 100}, "sizes": {"16384": 100}}

No line is about one exchange, and none is written because of one. Counts are written on the minute, and so is
every event that a caller could provoke. So neither a line nor its time tells when somebody made a request.
Each count is rounded up to a power of ten.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Final

REPORT_EVERY: Final = 60.0
"""Seconds between two reports, which are written on the minute."""

SIZE_CLASSES: Final = (16_384, 262_144, 4_194_304, 67_108_864)
"""Bytes of an exchange, both ways together: a question, a document, a file, the largest request, or more."""

_SIZE_NAMES: Final = (*map(str, SIZE_CLASSES), "more")

_NOT_BEFORE: Final = 0.05
"""Seconds past the minute. A sleep that ended early would report twice."""

MAX_FAULTS: Final = 16
"""Internal errors that one report lists."""

_Note = tuple[tuple[str, str], ...]


def write_to_stderr(line: str) -> None:
    """Writes a line. If stderr is closed, the process continues to serve."""
    with suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class AuditLog:
    """The only way to a log.

    A note waits for the next report if a caller could have caused it. It does not wait if its event is in
    `at_once`, or if it answers an operator's order (told). A note that was written since the last report
    waits too, so each is written at most twice a minute.

    Args:
        write: takes a line.
        clock: returns Unix seconds.
        at_once: events that do not wait.
    """

    def __init__(
        self,
        write: Callable[[str], None] = write_to_stderr,
        clock: Callable[[], float] = time.time,
        at_once: Collection[Enum] = (),
    ) -> None:
        self._write = write
        self._clock = clock
        self._at_once = at_once
        self._is_told = False
        self._written: set[_Note] = set()
        self._waiting: dict[_Note, None] = {}
        self._outcomes: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._faults = 0
        self._acts: list[Callable[[], None]] = []

    @property
    def totals(self) -> dict[str, int]:
        """Exchanges by outcome, from the start to the last report: no finer than a minute."""
        return dict(self._totals)

    @contextmanager
    def told(self, order: Enum) -> Iterator[None]:
        """Notes an operator's order, and writes every note of the block at once: no caller caused them."""
        self.note(order)
        self._is_told = True
        try:
            yield
        finally:
            self._is_told = False

    def note(self, event: Enum, **about: str) -> None:
        """Notes an event: its name, words from closed lists, and its sentence or a `message`."""
        note = {"event": event.name.lower(), **about, "message": about.get("message", str(event.value))}
        self._note(tuple(note.items()), waits=event not in self._at_once and not self._is_told)

    def fault(self, error: BaseException) -> None:
        """Notes an internal error, at the next report: the exception's class and line, never its text."""
        if self._faults < MAX_FAULTS:
            self._faults += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
            self._note((("event", "fault"), ("place", place)), waits=True)

    def count(self, outcome: str, size: int | None = None) -> None:
        """Counts an exchange that has ended, and its size in bytes if that is known."""
        self._outcomes[outcome] += 1
        if size is not None:
            self._sizes[_SIZE_NAMES[bisect_left(SIZE_CLASSES, size)]] += 1

    def at_report(self, act: Callable[[], None]) -> None:
        """Calls `act` at each report, for other figures that may change only once a minute."""
        self._acts.append(act)

    def report(self) -> None:
        """Writes the notes that have waited, and the counts since the last report."""
        for act in self._acts:
            act()
        for note in self._waiting:
            self._line(dict(note))
        counts = {"outcomes": _classes(self._outcomes), "sizes": _classes(self._sizes)}
        self._line({"event": "exchanges", **{name: found for name, found in counts.items() if found}})
        self._totals.update(self._outcomes)
        self._faults = 0
        for each in (self._waiting, self._written, self._outcomes, self._sizes):
            each.clear()

    async def keep_reporting(self) -> None:
        """Reports every minute until cancelled, even if nothing happened, and once more at the end."""
        try:
            while True:
                await asyncio.sleep(REPORT_EVERY - self._clock() % REPORT_EVERY + _NOT_BEFORE)
                self.report()
        finally:
            self.report()

    def _note(self, note: _Note, *, waits: bool) -> None:
        if waits or note in self._written:
            self._waiting.pop(note, None)
            self._waiting[note] = None  # at the end, so that the latest note is written last
        else:
            self._written.add(note)
            self._line(dict(note))

    def _line(self, fields: Mapping[str, object]) -> None:
        minute = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(self._clock()))
        self._write(json.dumps({"minute": minute, **fields}))


def _classes(counts: Mapping[str, int]) -> dict[str, int]:
    """Each count, rounded up to a power of ten."""
    return {name: 10 ** len(str(count - 1)) for name, count in sorted(counts.items())}
