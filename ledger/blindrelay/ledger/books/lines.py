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
from blindrelay.ledger.books.store import Statements, Value
from blindrelay.v1.envelope import EnvelopeError, parse_envelope
from blindrelay.v1.limits import CLOCK_TOLERANCE
from blindrelay.v1.outer_status import OuterStatus

GRACE_SECONDS: Final = 120
"""Seconds after an exchange's deadline: its receipt is under way."""
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
    new = [(number, line) for number, line in enumerate(lines, first_sequence) if number > known]
    taking.start([(number, line) for number, line in new if isinstance(line, Start)])
    taking.end([line for _, line in new if isinstance(line, End)])
    taking.finish()
    last = max(known, first_sequence + len(lines) - 1)
    sql.run(_ACKNOWLEDGE, node=node, sequence=last, now=now)
    refreshed = allowances.refresh_each(sql, sorted(taking.accounts), node, last, now)
    return LinesTaken(last, refreshed, taking.rejected)


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

    def start(self, lines: Sequence[tuple[int, Start]]) -> None:
        """Reserves an exchange for each start that can be used, and is not known."""
        read = [values for number, line in lines if (values := self._read(number, line)) is not None]
        self.rejected += len(lines) - len(read)
        self.accounts |= {values["account"] for values in read}
        reserved = self._sql.each(_START, read)
        new = [(values, rows[0]["number"]) for values, rows in zip(read, reserved, strict=True) if rows]
        self._started.update(values["account"] for values, _ in new)
        self._hold(new)
        if self._orphans:
            for values, _ in new:
                self._settle_orphan(values["envelope_hash"])

    def end(self, lines: Sequence[End]) -> None:
        """Notes how exchanges ended, and releases those that were refused."""
        ends: list[dict[str, Value]] = [
            {
                "node": self._node,
                "sequence": line.start_sequence,
                "outcome": line.outcome,
                "bytes": _size(line),
            }
            for line in lines
        ]
        refused: list[dict[str, Value]] = []
        for line, rows in zip(lines, self._sql.each(_END, ends), strict=True):
            self.rejected += not rows
            for row in rows:
                self._bytes[row["account"]] += _size(line)
                self.accounts.add(row["account"])
                if line.outcome not in NOT_REFUSED and not line.response_bytes:
                    refused.append({"number": row["number"], "now": self._now})
        lapsed = [row for rows in self._sql.each(_LAPSE, refused) for row in rows]
        allowances.give_back(self._sql, ((row["account"], row["held"]) for row in lapsed))

    def finish(self) -> None:
        self._settling.finish()
        for kind, used in (("exchanges", self._started), ("bytes", self._bytes)):
            for account, number in used.items():
                use(self._sql, account, kind, number)

    def _read(self, sequence: int, line: Start) -> dict[str, Any] | None:
        """The values of an exchange's row, or None if the line cannot be used."""
        lease = self._lease(line.lease)
        try:
            envelope = parse_envelope(line.envelope)
        except EnvelopeError:
            return None
        if lease is None:
            return None
        # The client chose this time, and a bridge refuses one that is further ahead.
        issued_at = min(envelope.issued_at, self._now + CLOCK_TOLERANCE)
        return {
            "envelope_hash": hashlib.sha256(line.envelope).digest(),
            "exchange_id": envelope.exchange_id,
            "identity": envelope.identity,
            "key_id": envelope.key_id,
            "account": lease["account"],
            "token": lease["token"],
            "node": self._node,
            "sequence": sequence,
            "at": self._now - self._now % MINUTE,
            "issued_at": issued_at,
            "expires_at": issued_at + min(line.deadline_seconds, MAX_DEADLINE) + GRACE_SECONDS,
            "max_units": envelope.max_units,
        }

    def _hold(self, new: Sequence[tuple[dict[str, Any], int]]) -> None:
        """Takes from allowances what is held for the exchanges. Without it, a receipt needs room."""
        parts = [
            {"account": values["account"], "node": self._node, "units": values["max_units"]}
            for values, _ in new
        ]
        taken = self._sql.each(_TAKE, parts)
        unheld = [{"number": number} for (_, number), rows in zip(new, taken, strict=True) if not rows]
        self._sql.run_each(_UNHELD, unheld)

    def _settle_orphan(self, envelope_hash: bytes) -> None:
        """The receipt may have been faster than the line."""
        for row in sorted(self._sql.all(_ORPHAN, envelope_hash=envelope_hash), key=itemgetter("number")):
            self._settling.settle_orphan(receipt_of(self._sql, envelope_hash, row))

    def _lease(self, lease: str) -> Any:
        if lease not in self._leases:
            self._leases[lease] = self._sql.one(_LEASE, lease=lease, node=self._node)
        return self._leases[lease]


def _size(line: End) -> int:
    return min(line.request_bytes + line.response_bytes, MAX_AMOUNT)


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
