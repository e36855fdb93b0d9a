"""What nodes report: an exchange's start, and its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.exchange_rows import LinesTaken, Receipt
from blindrelay.ledger.books.limits import use
from blindrelay.ledger.books.periods import MINUTE
from blindrelay.ledger.books.read_lines import Lines, Reserving, size
from blindrelay.ledger.books.set_statement import Batch, SetStatement
from blindrelay.ledger.books.settlement import Settling
from blindrelay.ledger.books.store import Statements, Value
from blindrelay.v1.outer_status import OuterStatus

NOT_REFUSED: Final = frozenset(
    {"ok", "cancelled", *(each.details for each in (OuterStatus.DEADLINE, OuterStatus.INTERNAL))}
    | {OuterStatus.UNAUTHENTICATED.details}  # the token was revoked meanwhile
)
"""Outcomes after which a receipt is likely, even if not one byte of a response has come."""

_ACKNOWLEDGED = "SELECT acknowledged FROM node WHERE node = :node"

_KNOWN = "COALESCE((SELECT acknowledged FROM node WHERE node = :node), 0)"

_STATE = SetStatement(
    "node BLOB",
    f"""
    SELECT {_KNOWN} AS known,
        (SELECT COUNT(*) FROM (SELECT number FROM evidence WHERE kind = 'orphan' LIMIT 1) AS one) AS orphans
    FROM given
    """,  # noqa: S608
)

_ACKNOWLEDGE = """
INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, :sequence, :now)
ON CONFLICT (node) DO UPDATE SET acknowledged = excluded.acknowledged, heard_at = excluded.heard_at
"""

_LEASES = SetStatement(
    "lease TEXT",
    "SELECT id, account, token FROM given JOIN lease ON lease.id = given.lease WHERE node = :node",
)

_START = SetStatement(
    "envelope_hash BLOB, exchange_id BLOB, identity BLOB, key_id BLOB, lease TEXT, sequence INTEGER,"
    "issued_at INTEGER, expires_at INTEGER, max_units INTEGER",
    f"""
    INSERT INTO exchange (
        envelope_hash, exchange_id, identity, key_id, account, token, node, sequence, at, issued_at,
        expires_at, max_units, state, hold, bytes, units
    )
    SELECT
        envelope_hash, exchange_id, identity, key_id, account, token, :node, sequence, :at, issued_at,
        given.expires_at, max_units, 1, max_units, 0, 0
    FROM given JOIN lease ON lease.id = given.lease
    WHERE lease.node = :node AND given.sequence > {_KNOWN}
    ON CONFLICT (envelope_hash) DO NOTHING
    RETURNING number, sequence, account
    """,  # noqa: S608
)

# While an exchange is held for, a second stream changes nothing about it but who ends it, and when.
_REPEAT = """
UPDATE exchange SET
    outcome = 'repeated', node = :node, sequence = :sequence,
    expires_at = CASE WHEN expires_at > :expires_at THEN expires_at ELSE :expires_at END
WHERE envelope_hash = :envelope_hash AND state = 1 AND hold > 0
RETURNING number
"""

_START_AGAIN = """
UPDATE exchange SET
    state = 1, hold = max_units, lapsed_at = NULL, outcome = CASE WHEN state = 1 THEN 'repeated' END,
    account = :account, token = :token, node = :node, sequence = :sequence, expires_at = :expires_at
WHERE envelope_hash = :envelope_hash AND (state = 4 OR state = 1 AND hold = 0) AND receipt IS NULL
RETURNING number, sequence, account
"""

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
    "line INTEGER, node BLOB, sequence INTEGER, outcome TEXT, bytes INTEGER",
    f"""
    UPDATE exchange SET
        outcome = CASE WHEN exchange.outcome IS NULL THEN given.outcome ELSE 'ended' END,
        bytes = exchange.bytes + given.bytes
    FROM given
    WHERE exchange.node = given.node AND exchange.sequence = given.sequence
        AND (exchange.outcome IS NULL OR exchange.outcome = 'repeated')
        AND given.line > {_KNOWN}
    RETURNING exchange.number, exchange.sequence, exchange.account
    """,  # noqa: S608
)

# Of an exchange with two streams nobody knows which one the bridge has taken.
_LAPSE = SetStatement(
    "number INTEGER, outcome TEXT",
    """
    UPDATE exchange SET state = 4, lapsed_at = :now FROM given
    WHERE exchange.number = given.number AND state = 1 AND exchange.outcome = given.outcome
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


def take_lines(sql: Statements, lines: Lines) -> LinesTaken:
    """Enters lines; those that are in the books already change nothing."""
    (state,), new, ended = sql.together(
        Batch(_STATE, [(lines.node,)]),
        Batch(_START, lines.start_rows()),
        Batch(_END, lines.end_rows()),
        node=lines.node,
        at=lines.now - lines.now % MINUTE,
    )
    known = state["known"]
    taking = _Taking(sql, lines, orphans=state["orphans"] > 0)
    taking.start(new, known)
    taking.end(ended, known)
    taking.finish()
    last = lines.last(known)
    sql.run(_ACKNOWLEDGE, node=lines.node, sequence=last, now=lines.now)
    refreshed = allowances.refresh_each(sql, sorted(taking.accounts), lines.node, last, lines.now)
    return LinesTaken(last, refreshed, taking.rejected)


class _Taking:
    """Takes the lines of one batch."""

    def __init__(self, sql: Statements, lines: Lines, *, orphans: bool) -> None:
        self._sql = sql
        self._lines = lines
        self._orphans = orphans
        self._settling = Settling(sql, lines.now)
        self._used: Counter[tuple[int, str]] = Counter()
        self.accounts: set[int] = set()
        self.rejected = 0

    def start(self, new: Sequence[Any], known: int) -> None:
        """Holds units for each new exchange, and looks at the start lines after `known` that began none."""
        new = sorted(new, key=itemgetter("sequence"))
        self.rejected += self._lines.unusable(known)
        again = self._see_to_rest({row["sequence"] for row in new}, known)
        self._hold([*new, *again])
        if self._orphans:
            for row in new:
                self._settle_orphan(self._lines.starts[row["sequence"]].envelope_hash)

    def end(self, ended: Sequence[Any], known: int) -> None:
        """Counts bytes, and releases the exchanges that were refused."""
        self.rejected += self._lines.number_of_ends(known) - len(ended)
        sizes: Counter[int] = Counter()
        refused = []
        for row in ended:
            line = self._lines.ends[row["sequence"]]
            sizes[row["account"]] += size(line)
            if line.outcome not in NOT_REFUSED and not line.response_bytes:
                refused.append((row["number"], line.outcome))
        self._use("bytes", sizes)
        lapsed = self._sql.for_all(_LAPSE, refused, now=self._lines.now)
        allowances.give_back(self._sql, ((row["account"], row["held"]) for row in lapsed))

    def finish(self) -> None:
        self._settling.finish()
        use(self._sql, self._used)

    def _use(self, kind: str, numbers: Counter[int]) -> None:
        self.accounts.update(numbers)
        self._used.update({(account, kind): number for account, number in numbers.items()})

    def _see_to_rest(self, started: set[int], known: int) -> list[Any]:
        """Rejects the start lines without a lease here. Others that began nothing new repeat an envelope.

        Returns the exchanges that nothing was held for, and that start again.
        """
        rest = [
            line for number, line in self._lines.starts.items() if number > known and number not in started
        ]
        named = [(lease,) for lease in {line.lease for line in rest}]
        leases = {row["id"]: row for row in self._sql.for_all(_LEASES, named, node=self._lines.node)}
        repeated = [line for line in rest if line.lease in leases]
        self.rejected += len(rest) - len(repeated)
        self.accounts.update(lease["account"] for lease in leases.values())
        return [row for line in repeated if (row := self._repeat(line, leases[line.lease]))]

    def _repeat(self, line: Reserving, lease: Any) -> Any:
        """A second stream with an envelope, which the bridge takes once at most.

        Returns the exchange if nothing was held for it: it was refused, but this stream may not be.
        """
        stream: dict[str, Value] = {
            "envelope_hash": line.envelope_hash,
            "node": self._lines.node,
            "sequence": line.sequence,
            "expires_at": line.expires_at,
        }
        if self._sql.one(_REPEAT, **stream):
            return None
        return self._sql.one(_START_AGAIN, **stream, account=lease["account"], token=lease["token"])

    def _hold(self, new: Sequence[Any]) -> None:
        """Takes from allowances what is held for the exchanges. Without it, a receipt needs room."""
        exchanges: Counter[int] = Counter()
        units: Counter[int] = Counter()
        for row in new:
            exchanges[row["account"]] += 1
            units[row["account"]] += self._max_units(row)
        self._use("exchanges", exchanges)
        held = self._take([(account, number, units[account]) for account, number in exchanges.items()])
        unheld = [
            (row["number"],)
            for row in new
            if row["account"] not in held and not self._take([(row["account"], 1, self._max_units(row))])
        ]
        self._sql.for_all(_UNHELD, unheld)

    def _max_units(self, row: Any) -> int:
        return self._lines.starts[row["sequence"]].envelope.max_units

    def _take(self, parts: Sequence[tuple[int, int, int]]) -> set[int]:
        """Takes an account's exchanges and units from its allowance, all of them or none.

        Returns the accounts that had them.
        """
        return {row["account"] for row in self._sql.for_all(_TAKE, parts, node=self._lines.node)}

    def _settle_orphan(self, envelope_hash: bytes) -> None:
        """The receipt may have been faster than the line."""
        for row in sorted(self._sql.all(_ORPHAN, envelope_hash=envelope_hash), key=itemgetter("number")):
            self._settling.settle_orphan(receipt_of(self._sql, envelope_hash, row))


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
