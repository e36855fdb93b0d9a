"""What the bridge says of itself: a closed list of events, and exchanges only as counts.

No line is about one exchange. Counts are written once a minute, rounded to classes, so that no line says
when somebody asked, or how much.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from blindrelay.provider_bridge.errors import ProviderError, SealedError
from blindrelay.v1.inner_pb2 import ErrorCode

LOGGER: Final = logging.getLogger("blindrelay.provider_bridge")

REPORT_EVERY: Final = 60.0
"""Seconds between two lines of counts."""


class Event(Enum):
    """What may happen to the process, in words that never change."""

    SERVING = "serving"
    KEYS_CHANGED = "a sealing key was drawn or dropped"
    TOKENS_UNREADABLE = "the tokens file went missing or wrong: nobody is admitted until it is mended"
    CERTIFICATES_UNUSABLE = "the new TLS files cannot be used: the ones before serve on"
    PROVIDER_FILES_UNUSABLE = "a provider's new credential or CA file is unusable: the one before stays"
    REREAD = "told to read the files again (SIGHUP)"
    PLAINTEXT = "listening without TLS, as configured"
    DELEGATION_ENDS_IN_A_WEEK = "the delegation ends in less than seven days: make a new one"
    DELEGATION_ENDS_IN_A_DAY = "the delegation ends in less than a day: make a new one"
    DELEGATION_ENDED = "the delegation has ended: nobody is served until there is a new one"
    DELEGATION_RENEWED = "a new delegation is in force"
    DELEGATION_UNUSABLE = "the delegation file went missing or wrong: the old delegation stays in force"
    CLAIMS_FULL = "the claim memory has no room for a peer: its exchanges are refused until claims expire"
    DRAINING = "draining: new exchanges are refused, running ones may finish"
    STOPPED = "stopped"


class Outcome(Enum):
    """How an exchange may end."""

    COMPLETED = "completed"
    REFUSED = "refused"
    NO_ROOM = "no_room"
    CANCELLED = "cancelled"
    FAULT = "fault"


class EventLog:
    """The only thing here that logs."""

    def __init__(self, logger: logging.Logger = LOGGER) -> None:
        self._logger = logger
        self._counts: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._failure_totals: Counter[str] = Counter()
        self._acts: list[Callable[[], None]] = []

    @property
    def totals(self) -> dict[str, int]:
        """Exchanges by how they ended, since the start and up to the last report: no finer than a minute."""
        return dict(self._totals)

    @property
    def failure_totals(self) -> dict[str, int]:
        """Exchanges that ended in a provider's failure, by its class, up to the last report."""
        return dict(self._failure_totals)

    def note(self, event: Event) -> None:
        """Writes an event down, now."""
        self._logger.info(event.value)

    def count(self, outcome: Outcome) -> None:
        """Counts an exchange's end."""
        self._counts[outcome.value] += 1

    def count_error(self, error: SealedError) -> None:
        """Counts an exchange that ended in a sealed error, by code and by class of provider failure."""
        self._counts[ErrorCode.Name(error.code).removeprefix("ERROR_CODE_").lower()] += 1
        if isinstance(error, ProviderError):
            self._failures[error.failure.value] += 1

    def fault(self, error: BaseException) -> None:
        """Writes down where the bridge has a fault: the kind of exception and the line, never its text.

        The exchange is counted where it ends, as any other.
        """
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._logger.error(
            "fault: %s at %s:%s", type(error).__name__, Path(frame.filename).name, frame.lineno
        )

    def at_report(self, act: Callable[[], None]) -> None:
        """Has something done at each report: for what else may move only once a minute."""
        self._acts.append(act)

    def report(self) -> None:
        """Writes down what was counted since the last report, if anything."""
        for act in self._acts:
            act()
        self._write("exchanges", self._counts, self._totals)
        self._write("provider failures", self._failures, self._failure_totals)

    def _write(self, title: str, counts: Counter[str], totals: Counter[str]) -> None:
        if counts:
            classes = ", ".join(f"{name} {_class(count)}" for name, count in sorted(counts.items()))
            self._logger.info("%s: %s", title, classes)
            totals.update(counts)
            counts.clear()

    async def keep_reporting(self) -> None:
        """Reports every minute until cancelled."""
        while True:
            await asyncio.sleep(REPORT_EVERY)
            self.report()


def log_to_stderr() -> None:
    """Writes this package's lines to stderr, and nobody else's: libraries' lines hold addresses and URLs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())


def _class(count: int) -> str:
    """A count as the power of ten that it does not exceed."""
    return f"up to {10 ** len(str(count - 1))}"
