"""All that a relay ever writes: the events and reasons of its audit log (serving/audit_log.py).

Events about a bridge name its configured address. Nothing tells who called, with which token, from where, or
which exchange it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from blindrelay.serving import Address, audit_log
from blindrelay.serving.audit_log import write_to_stderr


class Event(Enum):
    """What may happen to a relay, in constant words."""

    STARTED = "the relay accepts calls"
    DRAINING = "new calls are refused, running ones may finish"
    STOPPED = "the relay has stopped"
    REPLICA_UP = "the bridge can be used"
    REPLICA_DOWN = "the bridge cannot be used: run blindrelay-relay doctor to find out why"
    LEDGER_UP = "the ledger can be used"
    LEDGER_DOWN = "the ledger cannot be used: run blindrelay-relay doctor to find out why"
    DIRECTORIES_LEFT_OUT = "some bridges' key directories were left out: together they exceed the limit"
    REREAD = "reading the files again (SIGHUP)"
    TOKEN_UNUSABLE = "the new token_file cannot be used: the old token stays in use"  # noqa: S105
    TOKENS_UNREADABLE = "the tokens file is missing or invalid: nobody is admitted until it is repaired"
    CERTIFICATES_UNUSABLE = "the new TLS files cannot be used: the old ones stay in use"
    PLAINTEXT = "without TLS, as configured"
    ENVOY_UNWRITABLE = "Envoy's files cannot be written: it goes on with the old ones"
    WORKER_LOST = "a worker process ended unexpectedly, and is replaced"
    FAULT = "an internal error ended a call"


class Reason(Enum):
    """Why a bridge cannot be used, and what to do about it."""

    NAME = "its name is unknown: check the address and this machine's DNS"
    REFUSED = "nothing listens at its address: start the bridge, or check the port"
    UNREACHABLE = "its address cannot be reached: check the network and firewalls"
    TLS = "TLS failed: check its certificate, the ca of [replica.tls], and that both sides use TLS"
    CLOSED = "it closed the connection: check that the bridge is running, and that both sides use TLS"
    SILENT = "it did not respond in time: check that a bridge listens there, and its load"
    TOKEN = "it does not accept our token: issue one at the bridge and put it into token_file"  # noqa: S105
    NO_DIRECTORY = "it sent no valid key directory: check that a bridge listens there, and its version"
    WRONG_IDENTITY = "it does not have the configured identity: check address and identity"
    DRAINING = "it is shutting down"
    UNAVAILABLE = "it cannot serve now: read the bridge's log. Its delegation may have expired"
    OTHER = "it is not a bridge: check the address"
    FAULT = "an internal error of the relay"


_AT_ONCE: Final = frozenset(
    {Event.STARTED, Event.REREAD, Event.DRAINING, Event.STOPPED, Event.PLAINTEXT, Event.WORKER_LOST}
    | {Event.REPLICA_UP, Event.REPLICA_DOWN, Event.LEDGER_UP, Event.LEDGER_DOWN}
)
"""Events of the process and of bridges. A caller could cause any other event."""


class AuditLog(audit_log.AuditLog):
    """A relay's log. `write` takes a line, `clock` returns Unix seconds."""

    def __init__(
        self, write: Callable[[str], None] = write_to_stderr, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(write, clock, _AT_ONCE)

    def exchange(self, outcome: str, request_bytes: int, response_bytes: int) -> None:
        """Counts an exchange by its outcome ("ok", "cancelled" or an outer status), and its size if any."""
        self.count(outcome, (request_bytes + response_bytes) or None)

    def event(self, event: Event, replica: Address | None = None, reason: Reason | None = None) -> None:
        """Notes an event of the relay, or of a bridge by its configured address."""
        about = {} if replica is None else {"replica": str(replica)}
        if reason is not None:
            about |= {"reason": reason.name.lower(), "message": reason.value}
        self.note(event, **about)

    def ledger(self, event: Event, address: Address, reason: Reason | None = None) -> None:
        """Notes an event of the ledger at its configured address."""
        about = {"ledger": str(address)}
        if reason is not None:
            about["reason"] = reason.name.lower()
        self.note(event, **about)
