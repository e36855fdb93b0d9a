"""All that a ledger ever writes: the events and reasons of its audit log (serving/audit_log.py).

No line is about an account, a token or an exchange. Who changed what is in the books, and
`blindrelay-ledger audit` prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from blindrelay.serving import Address, audit_log
from blindrelay.serving.audit_log import write_to_stderr


class Event(Enum):
    """What may happen to a ledger, in constant words."""

    STARTED = "the ledger takes calls"
    DRAINING = "new calls are refused"
    STOPPED = "the ledger has stopped"
    REREAD = "reading the files again (SIGHUP)"
    PLAINTEXT = "without TLS, as configured"
    TOKENS_UNREADABLE = "the tokens file is missing or invalid: no relay is admitted until it is repaired"
    CERTIFICATES_UNUSABLE = "the new TLS files cannot be used: the old ones stay in use"
    BRIDGE_UP = "the bridge sends its receipts"
    BRIDGE_DOWN = "the bridge sends no receipts: run blindrelay-ledger doctor to find out why"
    BRIDGE_ELSEWHERE = "another ledger with the same books collects the bridge's receipts"
    BILL_REJECTED = "a receipt, watermark or price table did not verify, and was dropped"
    EVIDENCE_KEPT = "a receipt was kept as evidence and not charged: run blindrelay-ledger evidence"
    BOOKS_BUSY = "waiting to bring the books up to date: another session, such as pg_dump, reads them"
    BOOKS_FAILED = "the books could not be written: check the disk"
    FAULT = "an internal error ended a call"


class Reason(Enum):
    """Why a bridge sends no receipts, and what to do about it."""

    UNREACHABLE = "it cannot be reached: check its address, the network, and that both sides use TLS"
    SILENT = "it sent nothing for a minute: check the bridge's load, and its log"
    TOKEN = "it does not accept our token: use the token that the relays use for it"  # noqa: S105
    NO_BILLS = "it keeps no bills: add [billing] to its bridge.toml"
    IDENTITY = "its receipts are not signed for the configured identity: check address and identity"
    FILES = "its token_file or TLS files cannot be read: check [[bridge]]"
    BOOKS = "its receipts could not be booked: check the disk"
    CLOSED = "it closed the stream"
    ELSEWHERE = "another ledger with the same books collects its receipts"
    FAULT = "an internal error of the ledger"
    OTHER = "it is not a bridge, or has another version: check the address"


_AT_ONCE: Final = frozenset(
    {Event.STARTED, Event.REREAD, Event.DRAINING, Event.STOPPED, Event.PLAINTEXT}
    | {Event.BRIDGE_UP, Event.BRIDGE_DOWN, Event.BRIDGE_ELSEWHERE, Event.BOOKS_BUSY, Event.BOOKS_FAILED}
)
"""Events of the process and of bridges. A caller could cause any other event."""


class AuditLog(audit_log.AuditLog):
    """A ledger's log. `write` takes a line, `clock` returns Unix seconds."""

    def __init__(
        self, write: Callable[[str], None] = write_to_stderr, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(write, clock, _AT_ONCE)

    def event(self, event: Event, bridge: Address | None = None, reason: Reason | None = None) -> None:
        """Notes an event of the ledger, or of a bridge by its configured address."""
        about = {} if bridge is None else {"bridge": str(bridge)}
        if reason is not None:
            about |= {"reason": reason.name.lower(), "message": reason.value}
        self.note(event, **about)
