"""What the passing of time changes in the books."""

from __future__ import annotations

from typing import Final

from blindrelay.ledger.books import allowances, closing, settlement
from blindrelay.ledger.books.leases import forget_leases
from blindrelay.ledger.books.limits import reset_quotas
from blindrelay.ledger.books.periods import DAY
from blindrelay.ledger.books.store import Statements

LAST_LINES_SECONDS: Final = 30
"""Seconds after a lease's end: the start lines of its last exchanges are under way."""
LEASES_KEPT_SECONDS: Final = DAY
"""Seconds after a lease's end: lines that a relay could not send before can still name it."""
NODES_KEPT_SECONDS: Final = 30 * DAY
"""Seconds after a node's last line: it can still come back and repeat lines."""

_LOWER_BOUND = """
UPDATE account SET bound = CASE WHEN held - balance > overdraft THEN held - balance ELSE overdraft END
WHERE bound > overdraft
"""

_FORGET_NODES = "DELETE FROM node WHERE heard_at <= :before"


def tidy(sql: Statements, now: int) -> frozenset[str]:
    """Lapses exchanges, ends allowances, posts waiting receipts. Returns the accounts that this changed."""
    reset_quotas(sql, now)
    changed = closing.lapse(sql, now)
    changed |= allowances.release_ended(sql, now - LAST_LINES_SECONDS)
    changed |= settlement.post_waiting(sql, now)
    sql.run(_LOWER_BOUND)
    forget_leases(sql, now - LEASES_KEPT_SECONDS)
    sql.run(_FORGET_NODES, before=now - NODES_KEPT_SECONDS)
    return allowances.pseudonyms(sql, changed)
