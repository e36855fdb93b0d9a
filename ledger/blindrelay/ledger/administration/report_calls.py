"""What the books say: statements, sums, settlement, evidence, and who changed what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from blindrelay.admin.v1 import admin_pb2 as admin
from blindrelay.ledger.account_service import month_lines, statement_line
from blindrelay.ledger.administration.context import AdminContext, page_size
from blindrelay.ledger.administration.messages import (
    audit_message,
    credit_message,
    evidence_message,
    replica_message,
)
from blindrelay.ledger.books import Books, InvalidError, Line
from blindrelay.ledger.page import LINK_SECONDS
from blindrelay.ledger.settlement import Settlement
from blindrelay.v1.identity_text import format_identity

PAGE: Final = 500
"""Lines of one message: about 300 KiB with their receipts."""

MAX_NEWEST: Final = 10_000
"""Lines of a statement that asks for the newest."""

ALL_MONTHS: Final = "*"
DAYS: Final = 30


class ReportCalls:
    """Each method is a call of the service; nothing is changed, so it does not matter who makes it."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._books = context.books

    async def get_statement(
        self, request: admin.GetStatementRequest, _: str
    ) -> AsyncIterator[admin.GetStatementResponse]:
        now = self._context.now
        sums = await self._books.read(Books.statement, request.account, request.month, now)
        page = admin.GetStatementResponse(
            balance=sums.balance, overdraft_bound=sums.overdraft_bound, charged=sums.charged
        )
        credited = sums.credits[: -request.newest - 1 : -1] if request.newest else sums.credits
        page.credits.extend(map(credit_message, credited))
        async for lines in self._lines(request, now):
            page.lines.extend(map(statement_line, lines))
            yield page
            page = admin.GetStatementResponse()

    async def _lines(self, request: admin.GetStatementRequest, now: int) -> AsyncIterator[tuple[Line, ...]]:
        account, month = request.account, request.month
        if request.newest:
            limit = min(request.newest, MAX_NEWEST)
            yield await self._books.read(Books.newest_lines, account, month, now, limit=limit)
            return
        async for lines in month_lines(self._books, account, month, now, PAGE):
            yield lines

    async def export(self, request: admin.ExportRequest, _: str) -> AsyncIterator[admin.ExportResponse]:
        month = request.month or ALL_MONTHS
        async for lines in month_lines(self._books, None, month, self._context.now, PAGE):
            yield admin.ExportResponse(
                lines=[admin.ExportLine(account=line.account, line=statement_line(line)) for line in lines]
            )

    async def check(self, _request: admin.CheckRequest, _: str) -> admin.CheckResponse:
        found = await self._books.read(Books.check)
        return admin.CheckResponse(
            balanced=found.balanced,
            open=found.open,
            orphans=found.orphans,
            contradictions=found.contradictions,
            problems=found.problems,
        )

    async def get_overview(self, _request: admin.GetOverviewRequest, _: str) -> admin.GetOverviewResponse:
        now = self._context.now
        found = await self._books.read(Books.overview, now, days=DAYS + 1)
        today = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        return admin.GetOverviewResponse(
            accounts=found.accounts,
            enabled_accounts=found.enabled,
            balance=found.balance,
            charged_today=sum(day.units for day in found.days if day.day == today),
            charged_this_month=sum(day.units for day in found.days if day.day[:7] == today[:7]),
            open=found.open,
            nodes=self._context.nodes(),
            refusals=[
                admin.Refusals(status=status, count=count)
                for status, count in sorted(self._context.refusals.items())
            ],
            started_at=self._context.started_at,
            days=[
                admin.DayUnits(day=day.day, units=day.units, exchanges=day.exchanges)
                for day in found.days[-DAYS:]
            ],
        )

    async def get_settlement(
        self, _request: admin.GetSettlementRequest, _: str
    ) -> admin.GetSettlementResponse:
        found = await self._books.read(Books.settlement, self._context.now)
        return admin.GetSettlementResponse(
            bridges=map(_bridge, self._context.settlements),
            replicas=map(replica_message, found.replicas),
            open=found.open,
            oldest_open_at=found.oldest_open_at or 0,
            orphans=found.orphans,
            contradictions=found.contradictions,
            rejected=sum(each.rejected for each in self._context.settlements),
            lapsed=found.lapsed,
            waiting=found.waiting,
        )

    async def list_evidence(self, request: admin.ListEvidenceRequest, _: str) -> admin.ListEvidenceResponse:
        found = await self._books.read(Books.evidence, before=request.before, limit=page_size(request.limit))
        return admin.ListEvidenceResponse(evidence=map(evidence_message, found))

    async def list_audit(self, request: admin.ListAuditRequest, _: str) -> admin.ListAuditResponse:
        found = await self._books.read(Books.audit, before=request.before, limit=page_size(request.limit))
        return admin.ListAuditResponse(entries=map(audit_message, found))

    async def add_page_link(self, _request: admin.AddPageLinkRequest, _: str) -> admin.AddPageLinkResponse:
        links = self._context.links
        if links is None:
            raise InvalidError(
                "no page is served: add [page] to ledger.toml and start `blindrelay-ledger serve`"
            )
        return admin.AddPageLinkResponse(url=links.new_link(), seconds=LINK_SECONDS)


def _bridge(settlement: Settlement) -> admin.Bridge:
    return admin.Bridge(
        address=str(settlement.bridge.address),
        identity=format_identity(settlement.bridge.identities[0]),
        connected=settlement.collected,
        heard_at=settlement.heard_at,
        problem="" if settlement.problem is None else settlement.problem.value,
    )
