"""What settles an exchange that has no receipt: a watermark, or time."""

from __future__ import annotations

from typing import Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.exchange_rows import State, Watermark
from blindrelay.ledger.books.read_lines import GRACE_SECONDS
from blindrelay.ledger.books.set_statement import SetStatement
from blindrelay.ledger.books.store import Statements, Value

_STATE = """
INSERT INTO replica (
    identity, replica_id, started_at, closed_before, ended, stated_receipts, stated_units, receipts, units
)
VALUES (:identity, :replica_id, :started_at, :closed_before, :ended, :receipts, :units, 0, 0)
ON CONFLICT (identity, replica_id) DO UPDATE SET
    started_at = excluded.started_at, closed_before = excluded.closed_before, ended = excluded.ended,
    stated_receipts = excluded.stated_receipts, stated_units = excluded.stated_units
"""

_CLOSABLE = """
SELECT number, envelope_hash FROM exchange
WHERE key_id = :key_id AND identity = :identity AND (:ended = 1 OR issued_at < :closed_before)
    AND state = {state} AND receipt IS NULL
"""

_CLOSABLE_EACH: Final = tuple(_CLOSABLE.format(state=int(state)) for state in (State.RESERVED, State.LAPSED))
"""Each state has an index of its own."""

_VOID = SetStatement(
    "number INTEGER",
    """
    UPDATE exchange SET state = 3 FROM given WHERE exchange.number = given.number
    RETURNING account, CASE WHEN lapsed_at IS NULL THEN hold ELSE 0 END AS held
    """,
)

_LAPSE = """
UPDATE exchange SET state = 4, lapsed_at = :now
WHERE state = 1 AND issued_at <= :issued_before AND expires_at <= :now
RETURNING account, hold AS held
"""


def close_exchanges(sql: Statements, watermark: Watermark) -> frozenset[str]:
    """Voids what the watermark closes. Returns the accounts whose allowances may have changed."""
    still_open = set(watermark.open)
    closed: dict[str, Value] = {
        "identity": watermark.identity,
        "closed_before": watermark.closed_before,
        "ended": int(watermark.ended),
    }
    closable = [
        (row["number"],)
        for key_id in watermark.key_ids
        for statement in _CLOSABLE_EACH
        for row in sql.all(statement, key_id=key_id, **closed)
        if bytes(row["envelope_hash"]) not in still_open
    ]
    voided = sql.for_all(_VOID, closable)
    freed = allowances.give_back(sql, ((row["account"], row["held"]) for row in voided))
    sql.run(
        _STATE,
        **closed,
        replica_id=watermark.replica_id,
        started_at=watermark.started_at,
        receipts=watermark.count,
        units=watermark.units,
    )
    return allowances.pseudonyms(sql, freed)


def lapse(sql: Statements, now: int) -> set[int]:
    """Releases what is held for exchanges that have lapsed. Returns their accounts."""
    rows = sql.all(_LAPSE, now=now, issued_before=now - GRACE_SECONDS)
    return allowances.give_back(sql, ((row["account"], row["held"]) for row in rows))
