"""The operator's page about settlement: what bridges say, and what the books have."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from blindrelay.admin.v1.admin_pb2 import (
    CheckRequest,
    EvidenceKind,
    GetSettlementRequest,
    ListEvidenceRequest,
)
from blindrelay.ledger.page.forms import Form
from blindrelay.ledger.page.sign_in import Notice
from blindrelay.ledger.page.site import Visit

SHOWN_EVIDENCE: Final = 50

_KINDS: Final = {
    EvidenceKind.EVIDENCE_KIND_ORPHAN: "for an exchange that no relay reported",
    EvidenceKind.EVIDENCE_KIND_CONTRADICTION: "contradicts another receipt, or a watermark",
    EvidenceKind.EVIDENCE_KIND_LATE: "more than seven days late",
    EvidenceKind.EVIDENCE_KIND_EXCESS: "for more than the exchange allows, or of another bridge",
}


async def settlement(visit: Visit) -> Response:
    """The page at /settlement."""
    seen = await visit.ask(visit.admin.GetSettlement, GetSettlementRequest())
    kept = await visit.ask(visit.admin.ListEvidence, ListEvidenceRequest(limit=SHOWN_EVIDENCE))
    evidence = [(_KINDS.get(each.kind, "unknown"), each) for each in kept.evidence]
    replicas = sorted(seen.replicas, key=lambda each: (each.ended, each.identity, -each.started_at))
    return visit.page("settlement.html", settlement=seen, replicas=replicas, evidence=evidence)


async def check_books(visit: Visit, _: Form) -> Notice:
    """Adds up all the books."""
    found = await visit.ask(visit.admin.Check, CheckRequest())
    if found.balanced:
        return Notice(f"The books balance. {found.open:,} exchanges are open.")
    return Notice("The books do not balance: " + " ".join(found.problems), is_error=True)
