"""The part of the books that is only read."""

from __future__ import annotations

from blindrelay.ledger.books.audit import entries
from blindrelay.ledger.books.check import check
from blindrelay.ledger.books.open_books import OpenBooks
from blindrelay.ledger.books.report_rows import (
    AuditEntry,
    Check,
    Evidence,
    Line,
    Overview,
    Settlement,
    Statement,
)
from blindrelay.ledger.books.reports import evidence, lines, newest_lines, overview, settlement, statement


class ReportBooks(OpenBooks):
    """Statements, checks and sums."""

    def statement(self, account: str, month: str, now: int) -> Statement:
        """The sums of a month ("YYYY-MM"; empty for the present one). Raises UnknownError, InvalidError."""
        with self._store.reading() as sql:
            return statement(sql, account, month, now)

    def lines(
        self, account: str | None, month: str, now: int, *, after: int = 0, limit: int = 1000
    ) -> tuple[Line, ...]:
        """The exchanges of an account, or of all, that started in a month, oldest first.

        From the one after number `after` on. A month is "YYYY-MM", empty for the present one, or "*" for all.
        Raises UnknownError, InvalidError.
        """
        with self._store.reading() as sql:
            return lines(sql, account, month, now, after, limit)

    def newest_lines(self, account: str, month: str, now: int, *, limit: int = 1000) -> tuple[Line, ...]:
        """The last of an account's exchanges that started in a month, newest first.

        A month is as for lines(). Raises UnknownError, InvalidError.
        """
        with self._store.reading() as sql:
            return newest_lines(sql, account, month, now, limit)

    def check(self) -> Check:
        """Adds up all rows again and compares the sums with the accounts."""
        with self._store.reading() as sql:
            return check(sql)

    def overview(self, now: int, *, days: int = 30) -> Overview:
        """All accounts together, and the last days, oldest first."""
        with self._store.reading() as sql:
            return overview(sql, now, days)

    def settlement(self, now: int) -> Settlement:
        """The state of settlement."""
        with self._store.reading() as sql:
            return settlement(sql, now)

    def evidence(self, *, before: int = 0, limit: int = 100) -> tuple[Evidence, ...]:
        """Receipts that were kept and not charged, newest first, below number `before` unless it is 0."""
        with self._store.reading() as sql:
            return evidence(sql, before, limit)

    def audit(self, *, before: int = 0, limit: int = 100) -> tuple[AuditEntry, ...]:
        """Who changed what, newest first, below number `before` unless it is 0."""
        with self._store.reading() as sql:
            return entries(sql, before, limit)
