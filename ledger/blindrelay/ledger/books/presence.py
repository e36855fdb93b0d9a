"""Which nodes some ledger has a stream with. Several ledgers may share the books."""

from __future__ import annotations

from collections.abc import Iterable

from blindrelay.ledger.books.store import Statements

_HEAR = """
INSERT INTO node (node, acknowledged, heard_at) VALUES (:node, 0, :now)
ON CONFLICT (node) DO UPDATE SET heard_at = excluded.heard_at
"""

_LOST = """
SELECT DISTINCT allowance.node FROM allowance LEFT JOIN node ON node.node = allowance.node
WHERE COALESCE(node.heard_at, 0) <= :before
"""


def hear(sql: Statements, nodes: Iterable[bytes], now: int) -> None:
    """Notes that these nodes have a stream."""
    for node in sorted(nodes):
        sql.run(_HEAR, node=node, now=now)


def lost_nodes(sql: Statements, before: int) -> tuple[bytes, ...]:
    """The nodes that hold allowances, and that no ledger has heard after that time."""
    return tuple(bytes(row["node"]) for row in sql.all(_LOST, before=before))
