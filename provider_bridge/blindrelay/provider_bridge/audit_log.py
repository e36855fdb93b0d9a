"""All that a bridge ever writes: the events and outcomes of its audit log (serving/audit_log.py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from blindrelay.provider_bridge.errors import ProviderError, SealedError
from blindrelay.serving import audit_log
from blindrelay.serving.audit_log import write_to_stderr
from blindrelay.v1.inner_pb2 import ErrorCode


class Event(Enum):
    """What may happen to the process. The texts are constant."""

    SERVING = "the bridge takes calls"
    KEYS_CHANGED = "a sealing key was drawn or dropped"
    TOKENS_UNREADABLE = "the tokens file is missing or invalid: nobody is admitted until it is repaired"
    CERTIFICATES_UNUSABLE = "the new TLS files cannot be used: the old ones stay in use"
    PROVIDER_FILES_UNUSABLE = "a provider's new credential or CA file is unusable: the old one stays in use"
    CREDENTIAL_REFUSED = "a provider refused one of the bridge's credentials, which rests: check it"
    REREAD = "reading the files again (SIGHUP)"
    PLAINTEXT = "without TLS, as configured"
    DELEGATION_ENDS_IN_A_WEEK = "the delegation ends in less than seven days: make a new one"
    DELEGATION_ENDS_IN_A_DAY = "the delegation ends in less than a day: make a new one"
    DELEGATION_ENDED = "the delegation has ended: the bridge serves nobody until there is a new one"
    DELEGATION_RENEWED = "a new delegation is in force"
    DELEGATION_UNUSABLE = "the delegation file is missing or invalid: the old delegation stays in force"
    CLAIMS_FULL = "a peer's share of the claim memory is full: its exchanges are refused until claims expire"
    CLOCK_SET_FORWARD = "the wall clock is ahead of the bridge's time, which follows it"
    CLOCK_SET_BACK = "the wall clock was set back: the bridge's time stays ahead of it until it has caught up"
    PRICES_UNUSABLE = "the new prices file is missing or invalid: the old prices stay in force"
    PRICES_END_IN_A_WEEK = "the prices are valid for less than seven days: give them a later valid_to"
    PRICES_NOT_VALID = "the prices are not valid today: requests that would cost something are refused"
    OUTBOX_UNUSABLE = "the outbox cannot be written: exchanges are refused until it can"
    DRAINING = "new exchanges are refused, running ones may finish"
    STOPPED = "the bridge has stopped"


class Outcome(Enum):
    """How an exchange may end."""

    COMPLETED = "completed"
    REFUSED = "refused"
    NO_ROOM = "no_room"
    CANCELLED = "cancelled"
    FAULT = "fault"


_AT_ONCE: Final = frozenset({Event.SERVING, Event.REREAD, Event.PLAINTEXT, Event.DRAINING, Event.STOPPED})
"""Events of the process itself. The others may be noticed only when somebody calls, so they are not timed."""


class AuditLog(audit_log.AuditLog):
    """A bridge's log. `write` takes a line, `clock` gives Unix seconds."""

    def __init__(
        self, write: Callable[[str], None] = write_to_stderr, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(write, clock, _AT_ONCE)

    def count(self, outcome: Outcome | str, size: int | None = None) -> None:
        """Counts an exchange's end."""
        super().count(outcome.value if isinstance(outcome, Outcome) else outcome, size)

    def count_error(self, error: SealedError) -> None:
        """Counts an exchange that ended in a sealed error, by its code or its class of failure."""
        if isinstance(error, ProviderError):
            self.count(f"provider_{error.failure.value}")
        else:
            self.count(ErrorCode.Name(error.code).removeprefix("ERROR_CODE_").lower())
