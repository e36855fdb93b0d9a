"""The operator's audit log: who changed what."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import AuditEntry, ListAuditRequest
from blindrelay.ledger.page.site import Visit

ENTRIES_PER_PAGE: Final = 100


async def audit(visit: Visit) -> Response:
    """The page at /audit: the newest entries, or those before ?before=."""
    before = visit.request.query_params.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else 0
    asked = ListAuditRequest(before=number, limit=ENTRIES_PER_PAGE + 1)
    found = list((await visit.ask(visit.admin.ListAudit, asked)).entries)
    shown = found[:ENTRIES_PER_PAGE]
    entries = [(entry, changes(entry)) for entry in shown]
    more = shown[-1].number if len(found) > len(shown) else 0
    return visit.page("audit.html", entries=entries, before=number, more=more)


def changes(entry: AuditEntry) -> list[str]:
    """What an entry has changed, a line for each field: "enabled: true → false"."""
    before, after = _fields(entry.before), _fields(entry.after)
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name}: {after[name]}"
        if name not in before
        else f"{name}: {before[name]} → {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _fields(text: str) -> dict[str, str]:
    """The fields of a JSON object by their dotted names."""
    try:
        value: Any = json.loads(text) if text else {}
    except ValueError:
        value = text
    return _flat(value, "") if isinstance(value, dict) else {"value": str(value)}


def _flat(values: dict[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = _text(value)
    return flat


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
