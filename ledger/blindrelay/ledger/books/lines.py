"""What nodes report: an exchange's start, and its end."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.account_rows import MAX_AMOUNT
from blindrelay.ledger.books.exchange_rows import End, LinesTaken, Receipt, Start
from blindrelay.ledger.books.limits import use
from blindrelay.ledger.books.periods import MINUTE
from blindrelay.ledger.books.set_statement import SetStatement
from blindrelay.ledger.books.settlement import Settling
from blindrelay.ledger.books.store import Statements
from blindrelay.v1.envelope import EnvelopeError, parse_envelope
from blindrelay.v1.envelope_pb2 import Envelope
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

_KNOWN = """
SELECT COALESCE((SELECT acknowledged FROM node WHERE node = :node), 0) AS acknowledged,
    (SELECT COUNT(*) FROM (SELECT number FROM evidence WHERE kind = 'orphan' LIMIT 1) AS one) AS orphans
"""

_ACKNOWLEDGE = """
INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, :sequence, :now)
ON CONFLICT (node) DO UPDATE SET acknowledged = excluded.acknowledged, heard_at = excluded.heard_at
"""

_LEASES = SetStatement(
    "lease TEXT",
    "SELECT id, account FROM given JOIN lease ON lease.id = given.lease WHERE node = :node",
)

_START = SetStatement(
    "envelope_hash BLOB, exchange_id BLOB, identity BLOB, key_id BLOB, lease TEXT, sequence INTEGER,"
    "issued_at INTEGER, expires_at INTEGER, max_units INTEGER",
    """
    INSERT INTO exchange (
        envelope_hash, exchange_id, identity, key_id, account, token, node, sequence, at, issued_at,
        expires_at, max_units, state, hold, bytes, units
    )
    SELECT
        envelope_hash, exchange_id, identity, key_id, account, token, :node, sequence, :at, issued_at,
        given.expires_at, max_units, 1, max_units, 0, 0
    FROM given JOIN lease ON lease.id = given.lease
    WHERE lease.node = :node
    ON CONFLICT (envelope_hash) DO NOTHING
    RETURNING number, sequence, account, max_units, envelope_hash
    """,
)

_TAKE = SetStatement(
    "account INTEGER, exchanges INTEGER, units INTEGER",
    """
    UPDATE allowance SET
        exchanges = allowance.exchanges - given.exchanges, units = allowance.units - given.units
    FROM given
    WHERE allowance.account = given.account AND node = :node
        AND allowance.exchanges >= given.exchanges AND allowance.units >= given.units
    RETURNING allowance.account
    """,
)

_UNHELD = SetStatement(
    "number INTEGER", "UPDATE exchange SET hold = 0 FROM given WHERE exchange.number = given.number"
)

# The node is in the batch, so that SQLite looks up each line and does not read all of the node's.
_END = SetStatement(
    "node BLOB, sequence INTEGER, outcome TEXT, bytes INTEGER",
    """
    UPDATE exchange SET outcome = given.outcome, bytes = given.bytes FROM given
    WHERE exchange.node = given.node AND exchange.sequence = given.sequence AND exchange.outcome IS NULL
    RETURNING exchange.number, exchange.sequence, exchange.account
    """,
)

_LAPSE = SetStatement(
    "number INTEGER",
    """
    UPDATE exchange SET state = 4, lapsed_at = :now FROM given
    WHERE exchange.number = given.number AND state = 1
    RETURNING account, hold AS held
    """,
)

_ORPHAN = """
DELETE FROM evidence WHERE envelope_hash = :envelope_hash AND kind = 'orphan'
RETURNING number, identity, units, started, replica_id, receipt, signature, signer
"""

_SIGNER = "SELECT delegation, delegation_signature FROM signer WHERE id = :signer"


def acknowledged(sql: Statements, node: bytes) -> int:
    """The number of the node's last line in the books, or 0."""
    row = sql.one(_ACKNOWLEDGED, node=node)
    return row["acknowledged"] if row else 0


@dataclass(frozen=True)
class _Reserving:
    """A start line, read."""

    sequence: int
    lease: str
    envelope_hash: bytes
    envelope: Envelope
    issued_at: int
    expires_at: int


class Lines:
    """A node's lines, read before the books are locked. `first_sequence` is the number of the first."""

    def __init__(self, first_sequence: int, lines: Sequence[Start | End], now: int) -> None:
        self.now = now
        self._last = first_sequence + len(lines) - 1
        numbered = list(enumerate(lines, first_sequence))
        self._starts = [
            (number, _read(number, line, now)) for number, line in numbered if isinstance(line, Start)
        ]
        self._ends = [(number, line) for number, line in numbered if isinstance(line, End)]

    def last(self, known: int) -> int:
        """The number of the last line that is in the books, once these are. `known` are there already."""
        return max(known, self._last)

    def starts(self, known: int) -> list[_Reserving | None]:
        """Those after the line `known`; None for one that cannot be used."""
        return [line for number, line in self._starts if number > known]

    def ends(self, known: int) -> list[End]:
        """Those after the line `known`."""
        return [line for number, line in self._ends if number > known]


def take_lines(sql: Statements, node: bytes, lines: Lines) -> LinesTaken:
    """Enters lines; those that are in the books already change nothing."""
    found: Any = sql.one(_KNOWN, node=node)
    known = found["acknowledged"]
    taking = _Taking(sql, node, lines.now, orphans=found["orphans"] > 0)
    taking.start(lines.starts(known))
    taking.end(lines.ends(known))
    taking.finish()
    last = lines.last(known)
    sql.run(_ACKNOWLEDGE, node=node, sequence=last, now=lines.now)
    refreshed = allowances.refresh_each(sql, sorted(taking.accounts), node, last, lines.now)
    return LinesTaken(last, refreshed, taking.rejected)


class _Taking:
    """Takes the lines of one batch."""

    def __init__(self, sql: Statements, node: bytes, now: int, *, orphans: bool) -> None:
        self._sql = sql
        self._node = node
        self._orphans = orphans
        self._now = now
        self._settling = Settling(sql, now)
        self._used: Counter[tuple[int, str]] = Counter()
        self.accounts: set[int] = set()
        self.rejected = 0

    def start(self, lines: Sequence[_Reserving | None]) -> None:
        """Reserves an exchange for each start that can be used, and is not known."""
        read = [line for line in lines if line is not None]
        self.rejected += len(lines) - len(read)
        rows = [_row(line) for line in read]
        new = self._sql.for_all(_START, rows, node=self._node, at=self._now - self._now % MINUTE)
        new.sort(key=itemgetter("sequence"))
        self._see_to_rest(read, new)
        self._used.update((row["account"], "exchanges") for row in new)
        self._hold(new)
        if self._orphans:
            for row in new:
                self._settle_orphan(bytes(row["envelope_hash"]))

    def end(self, lines: Sequence[End]) -> None:
        """Notes how exchanges ended, and releases those that were refused."""
        first_of_each = {line.start_sequence: line for line in reversed(lines)}
        rows = [
            (self._node, line.start_sequence, line.outcome, _size(line)) for line in first_of_each.values()
        ]
        ended = self._sql.for_all(_END, rows)
        self.rejected += len(lines) - len(ended)
        refused = []
        for row in ended:
            line = first_of_each[row["sequence"]]
            self._used[row["account"], "bytes"] += _size(line)
            self.accounts.add(row["account"])
            if line.outcome not in NOT_REFUSED and not line.response_bytes:
                refused.append((row["number"],))
        lapsed = self._sql.for_all(_LAPSE, refused, now=self._now)
        allowances.give_back(self._sql, ((row["account"], row["held"]) for row in lapsed))

    def finish(self) -> None:
        self._settling.finish()
        use(self._sql, self._used)

    def _see_to_rest(self, lines: Sequence[_Reserving], new: Sequence[Any]) -> None:
        """Lines that started nothing repeat an envelope, or have no lease. Notes the accounts of all."""
        started = {row["sequence"] for row in new}
        rest = [line for line in lines if line.sequence not in started]
        named = [(lease,) for lease in {line.lease for line in rest}]
        accounts = {row["id"]: row["account"] for row in self._sql.for_all(_LEASES, named, node=self._node)}
        self.rejected += sum(line.lease not in accounts for line in rest)
        self.accounts.update(accounts.values(), (row["account"] for row in new))

    def _hold(self, new: Sequence[Any]) -> None:
        """Takes from allowances what is held for the exchanges. Without it, a receipt needs room."""
        exchanges = Counter(row["account"] for row in new)
        units: Counter[int] = Counter()
        for row in new:
            units[row["account"]] += row["max_units"]
        held = self._take([(account, number, units[account]) for account, number in exchanges.items()])
        unheld = [
            (row["number"],)
            for row in new
            if row["account"] not in held and not self._take([(row["account"], 1, row["max_units"])])
        ]
        self._sql.for_all(_UNHELD, unheld)

    def _take(self, parts: Sequence[tuple[int, int, int]]) -> set[int]:
        """Takes an account's exchanges and units from its allowance, all of them or none.

        Returns the accounts that had them.
        """
        return {row["account"] for row in self._sql.for_all(_TAKE, parts, node=self._node)}

    def _settle_orphan(self, envelope_hash: bytes) -> None:
        """The receipt may have been faster than the line."""
        for row in sorted(self._sql.all(_ORPHAN, envelope_hash=envelope_hash), key=itemgetter("number")):
            self._settling.settle_orphan(receipt_of(self._sql, envelope_hash, row))


def _read(sequence: int, line: Start, now: int) -> _Reserving | None:
    try:
        envelope = parse_envelope(line.envelope)
    except EnvelopeError:
        return None
    # The client chose this time, and a bridge refuses one that is further ahead.
    issued_at = min(envelope.issued_at, now + CLOCK_TOLERANCE)
    expires_at = issued_at + min(line.deadline_seconds, MAX_DEADLINE) + GRACE_SECONDS
    envelope_hash = hashlib.sha256(line.envelope).digest()
    return _Reserving(sequence, line.lease, envelope_hash, envelope, issued_at, expires_at)


def _row(line: _Reserving) -> tuple[int | str | bytes, ...]:
    """As _START has it."""
    envelope = line.envelope
    return (
        *(line.envelope_hash, envelope.exchange_id, envelope.identity, envelope.key_id, line.lease),
        *(line.sequence, line.issued_at, line.expires_at, envelope.max_units),
    )


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
