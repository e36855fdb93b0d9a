"""What nodes report: an exchange's start, and its end."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.account_rows import MAX_AMOUNT
from blindrelay.ledger.books.exchange_rows import End, LinesTaken, Receipt, Start
from blindrelay.ledger.books.limits import use
from blindrelay.ledger.books.periods import MINUTE
from blindrelay.ledger.books.settlement import Settling
from blindrelay.ledger.books.store import Statements
from blindrelay.v1.envelope import EnvelopeError, parse_envelope
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.limits import CLOCK_TOLERANCE
from blindrelay.v1.outer_status import OuterStatus

GRACE_SECONDS: Final = 120
"""After an exchange's deadline: its receipt is under way."""
MAX_DEADLINE: Final = 86_400
"""Seconds: longer than any deadline class, so that no line holds units for ever."""

NOT_REFUSED: Final = frozenset(
    {"ok", "cancelled", OuterStatus.DEADLINE.details, OuterStatus.INTERNAL.details}
)
"""Outcomes after which a receipt is likely, even if not one byte of a response has come."""

_ACKNOWLEDGED = "SELECT acknowledged FROM node WHERE node = :node"

_ACKNOWLEDGE = """
INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, :sequence, :now)
ON CONFLICT (node) DO UPDATE SET acknowledged = excluded.acknowledged, heard_at = excluded.heard_at
"""

_LEASE = "SELECT account, token FROM lease WHERE id = :lease AND node = :node"

_START = """
INSERT INTO exchange (
    envelope_hash, exchange_id, identity, key_id, account, token, node, sequence, at, issued_at,
    expires_at, max_units, state, hold, bytes, units
)
VALUES (
    :envelope_hash, :exchange_id, :identity, :key_id, :account, :token, :node, :sequence, :at, :issued_at,
    :expires_at, :max_units, 1, :max_units, 0, 0
)
ON CONFLICT (envelope_hash) DO NOTHING
RETURNING number
"""

_TAKE = """
UPDATE allowance SET exchanges = exchanges - 1, units = units - :units
WHERE account = :account AND node = :node AND exchanges >= 1 AND units >= :units
RETURNING exchanges
"""

_UNHELD = "UPDATE exchange SET hold = 0 WHERE number = :number"

_END = """
UPDATE exchange SET outcome = :outcome, bytes = :bytes
WHERE node = :node AND sequence = :sequence AND outcome IS NULL
RETURNING number, account
"""

_LAPSE = """
UPDATE exchange SET state = 4, lapsed_at = :now WHERE number = :number AND state = 1
RETURNING account, hold AS held
"""

_ANY_ORPHAN = "SELECT number FROM evidence WHERE kind = 'orphan' LIMIT 1"

_ORPHAN = """
DELETE FROM evidence WHERE envelope_hash = :envelope_hash AND kind = 'orphan'
RETURNING number, identity, units, started, replica_id, receipt, signature, signer
"""

_SIGNER = "SELECT delegation, delegation_signature FROM signer WHERE id = :signer"


def acknowledged(sql: Statements, node: bytes) -> int:
    """The number of the node's last line in the books, or 0."""
    row = sql.one(_ACKNOWLEDGED, node=node)
    return row["acknowledged"] if row else 0


def take_lines(
    sql: Statements, node: bytes, first_sequence: int, lines: Sequence[Start | End], now: int
) -> LinesTaken:
    """A node's lines in order; those that are in the books already change nothing."""
    known = acknowledged(sql, node)
    taking = _Taking(sql, node, now)
    for sequence, line in enumerate(lines, first_sequence):
        if sequence > known:
            taking.take(sequence, line)
    taking.finish()
    last = max(known, first_sequence + len(lines) - 1)
    sql.run(_ACKNOWLEDGE, node=node, sequence=last, now=now)
    refreshed = (allowances.refresh(sql, each, node, last, now) for each in sorted(taking.accounts))
    return LinesTaken(last, tuple(each for each in refreshed if each), taking.rejected)


class _Taking:
    """Takes the lines of one batch."""

    def __init__(self, sql: Statements, node: bytes, now: int) -> None:
        self._sql = sql
        self._node = node
        self._now = now
        self._settling = Settling(sql, now)
        self._leases: dict[str, Any] = {}
        self._orphans = sql.one(_ANY_ORPHAN) is not None
        self._started: Counter[int] = Counter()
        self._bytes: Counter[int] = Counter()
        self.accounts: set[int] = set()
        self.rejected = 0

    def take(self, sequence: int, line: Start | End) -> None:
        taken = self._start(sequence, line) if isinstance(line, Start) else self._end(line)
        self.rejected += not taken

    def finish(self) -> None:
        self._settling.finish()
        for kind, used in (("exchanges", self._started), ("bytes", self._bytes)):
            for account, number in used.items():
                use(self._sql, account, kind, number)

    def _start(self, sequence: int, line: Start) -> bool:
        lease = self._lease(line.lease)
        try:
            envelope = parse_envelope(line.envelope)
        except EnvelopeError:
            return False
        if lease is None:
            return False
        self.accounts.add(lease["account"])
        envelope_hash = hashlib.sha256(line.envelope).digest()
        number = self._reserve(lease, sequence, envelope, envelope_hash, line.deadline_seconds)
        if number is not None:
            self._started[lease["account"]] += 1
            self._hold(lease["account"], envelope.max_units, number)
            if self._orphans:
                self._settle_orphan(envelope_hash)
        return True

    def _reserve(
        self, lease: Any, sequence: int, envelope: Envelope, envelope_hash: bytes, deadline: int
    ) -> int | None:
        # The client chose this time, and a bridge refuses one that is further ahead.
        issued_at = min(envelope.issued_at, self._now + CLOCK_TOLERANCE)
        row = self._sql.one(
            _START,
            envelope_hash=envelope_hash,
            exchange_id=envelope.exchange_id,
            identity=envelope.identity,
            key_id=envelope.key_id,
            account=lease["account"],
            token=lease["token"],
            node=self._node,
            sequence=sequence,
            at=self._now - self._now % MINUTE,
            issued_at=issued_at,
            expires_at=issued_at + min(deadline, MAX_DEADLINE) + GRACE_SECONDS,
            max_units=envelope.max_units,
        )
        return row["number"] if row else None

    def _hold(self, account: int, units: int, number: int) -> None:
        """Takes from the allowance what is held for the exchange. Without it, a receipt needs room."""
        if self._sql.one(_TAKE, account=account, node=self._node, units=units) is None:
            self._sql.run(_UNHELD, number=number)

    def _settle_orphan(self, envelope_hash: bytes) -> None:
        """The receipt may have been faster than the line."""
        for row in sorted(self._sql.all(_ORPHAN, envelope_hash=envelope_hash), key=itemgetter("number")):
            self._settling.settle_orphan(receipt_of(self._sql, envelope_hash, row))

    def _end(self, line: End) -> bool:
        size = min(line.request_bytes + line.response_bytes, MAX_AMOUNT)
        ended = self._sql.one(
            _END, node=self._node, sequence=line.start_sequence, outcome=line.outcome, bytes=size
        )
        if ended is None:
            return False
        self._bytes[ended["account"]] += size
        self.accounts.add(ended["account"])
        if line.outcome not in NOT_REFUSED and not line.response_bytes:
            rows = self._sql.all(_LAPSE, number=ended["number"], now=self._now)
            allowances.give_back(self._sql, ((row["account"], row["held"]) for row in rows))
        return True

    def _lease(self, lease: str) -> Any:
        if lease not in self._leases:
            self._leases[lease] = self._sql.one(_LEASE, lease=lease, node=self._node)
        return self._leases[lease]


def receipt_of(sql: Statements, envelope_hash: bytes, row: Any) -> Receipt:
    """The receipt in a row of evidence."""
    signer: Any = sql.one(_SIGNER, signer=row["signer"])
    return Receipt(
        identity=bytes(row["identity"]),
        envelope_hash=envelope_hash,
        units=row["units"],
        started=bool(row["started"]),
        replica_id=bytes(row["replica_id"]),
        receipt=bytes(row["receipt"]),
        signature=bytes(row["signature"]),
        delegation=bytes(signer["delegation"]),
        delegation_signature=bytes(signer["delegation_signature"]),
    )
