"""The only way into the books.

Every method is one transaction: it is in the books when the method returns, and nothing of it is if it
raises. Methods may be called from any thread, and several processes may have the same books open. `now` is
Unix seconds; `by` says who acted, for the audit log. Amounts are units.
"""

from __future__ import annotations

from blindrelay.ledger.books.account_books import AccountBooks
from blindrelay.ledger.books.exchange_books import ExchangeBooks
from blindrelay.ledger.books.report_books import ReportBooks


class Books(AccountBooks, ExchangeBooks, ReportBooks):
    """Accounts, allowances, exchanges and receipts: the only copy, with one writer."""
