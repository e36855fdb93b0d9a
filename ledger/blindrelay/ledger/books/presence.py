"""Which nodes some ledger has a stream with. Several ledgers may share the books."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from blindrelay.ledger.books.store import Statements

RELEASE_SECONDS: Final = 15
"""Seconds without a message of a node after which others may have its allowances. It starts nothing then."""

SILENT_SECONDS: Final = 3
"""Seconds without a record of its stream after which a node counts as lost. There is one every second."""

_HEAR = """
INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, 0, :now)
ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at
"""

_LOST = """
SELECT DISTINCT allowance.node FROM allowance LEFT JOIN node ON node.node = allowance.node
WHERE COALESCE(node.heard_at, 0) <= :before
"""

_RELEASED = """
SELECT MIN(heard_at) AS heard_at FROM allowance JOIN node ON node.node = allowance.node
WHERE account = :account AND allowance.node <> :node AND units > 0 AND heard_at <= :silent
"""


def hear(sql: Statements, nodes: Iterable[bytes], now: int) -> None:
    """Notes that these nodes have a stream."""
    for node in sorted(nodes):
        sql.run(_HEAR, node=node, now=now)


def lost_nodes(sql: Statements, before: int) -> tuple[bytes, ...]:
    """The nodes that hold allowances, and that no ledger has heard after that time."""
    return tuple(bytes(row["node"]) for row in sql.all(_LOST, before=before))


def released_in(sql: Statements, account: int, node: bytes, now: int) -> int | None:
    """Seconds until the first lost node's allowance of the account is another's. None if no node is lost."""
    row = sql.one(_RELEASED, account=account, node=node, silent=now - SILENT_SECONDS)
    heard_at: int | None = None if row is None else row["heard_at"]
    return None if heard_at is None else max(1, heard_at + RELEASE_SECONDS + 1 - now)
