"""The audit log: who changed what. Rows are added and never changed."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

from blindrelay.ledger.books.report_rows import AuditEntry
from blindrelay.ledger.books.store import Statements

_LONGEST_ACTOR = 100

_ADD = """
INSERT INTO audit (at, actor, action, subject, before_change, after_change)
VALUES (:at, :actor, :action, :subject, :before, :after)
"""

_READ = """
SELECT number, at, actor, action, subject, before_change, after_change FROM audit
WHERE :before = 0 OR number < :before
ORDER BY number DESC LIMIT :limit
"""


def note(
    sql: Statements, action: str, subject: str, *, by: str, now: int, before: Any = None, after: Any = None
) -> None:
    """Appends one entry. `before` and `after` are dataclasses or dictionaries."""
    sql.run(
        _ADD,
        at=now,
        actor=by[:_LONGEST_ACTOR],
        action=action,
        subject=subject,
        before=_json(before),
        after=_json(after),
    )


def entries(sql: Statements, before: int, limit: int) -> tuple[AuditEntry, ...]:
    """Newest first, below number `before` unless it is 0."""
    return tuple(AuditEntry(*row) for row in map(_values, sql.all(_READ, before=before, limit=limit)))


def _values(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in _COLUMNS)


_COLUMNS = ("number", "at", "actor", "action", "subject", "before_change", "after_change")


def _json(value: Any) -> str:
    if value is None:
        return ""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(plain, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} cannot be written to the audit log")
