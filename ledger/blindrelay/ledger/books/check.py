"""Adds up all rows again, and compares the sums with the accounts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from blindrelay.ledger.books.exchange_rows import Outcome
from blindrelay.ledger.books.report_rows import Check
from blindrelay.ledger.books.reports import kept_receipts
from blindrelay.ledger.books.store import Statements
from blindrelay.ledger.books.transfers import VOUCHERS, bridge, customer

_OPEN = "SELECT COUNT(*) AS open FROM exchange WHERE state = 1 OR (state = 4 AND receipt IS NOT NULL)"

_ACCOUNTS = "SELECT id, name, balance, held, bound FROM account ORDER BY name"

_BOOKS = """
SELECT book, CAST(SUM(units) AS BIGINT) AS total FROM (
    SELECT payee AS book, units FROM transfer UNION ALL SELECT payer AS book, -units AS units FROM transfer
) AS sides
GROUP BY book
"""

_SUMS: Final = {
    "credits": "SELECT account AS owner, CAST(SUM(units) AS BIGINT) AS total FROM credit GROUP BY account",
    "charges": """
        SELECT account AS owner, CAST(SUM(units) AS BIGINT) AS total
        FROM exchange WHERE state = 2 GROUP BY account
    """,
    "holds": """
        SELECT account AS owner, CAST(SUM(hold) AS BIGINT) AS total
        FROM exchange WHERE state = 1 GROUP BY account
    """,
    "allowances": """
        SELECT account AS owner, CAST(SUM(units) AS BIGINT) AS total
        FROM allowance GROUP BY account
    """,
    "bridges": """
        SELECT identity AS owner, CAST(SUM(units) AS BIGINT) AS total
        FROM exchange WHERE state = 2 GROUP BY identity
    """,
}

_VOUCHERS = """
SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) AS total FROM voucher
WHERE redeemed_at IS NULL AND revoked_at IS NULL
"""

_UNPROVED = "SELECT COUNT(*) AS unproved FROM exchange WHERE state = 2 AND receipt IS NULL"

# In PostgreSQL no foreign key sees to that.
_STRAY = """
SELECT COUNT(*) AS stray FROM exchange
WHERE account NOT IN (SELECT id FROM account) OR token NOT IN (SELECT id FROM token)
    OR (signer IS NOT NULL AND signer NOT IN (SELECT id FROM signer))
"""


def check(sql: Statements) -> Check:
    """Whether the books balance."""
    kept = kept_receipts(sql)
    open_: Any = sql.one(_OPEN)
    problems = (*_account_problems(sql), *_other_problems(sql))
    return Check(open_["open"], kept.get(Outcome.ORPHAN, 0), kept.get(Outcome.CONTRADICTION, 0), problems)


def _account_problems(sql: Statements) -> Iterator[str]:
    books = _books(sql)
    sums = {name: _sums(sql, name) for name in _SUMS}
    for row in sql.all(_ACCOUNTS):
        name, balance, number = row["name"], row["balance"], row["id"]
        if balance != (entered := books.get(customer(number), 0)):
            yield f'"{name}" has a balance of {balance}, and its entries add up to {entered}'
        due = sums["credits"].get(number, 0) - sums["charges"].get(number, 0)
        if balance != due:
            yield f'"{name}" has a balance of {balance}, and its credits less its exchanges are {due}'
        held = sums["holds"].get(number, 0) + sums["allowances"].get(number, 0)
        if row["held"] != held:
            yield f'"{name}" has {row["held"]} units set aside, and its exchanges and allowances need {held}'
        if balance + row["bound"] < row["held"]:
            yield f'"{name}" has {row["held"]} units set aside, and its balance and bound do not cover them'


def _other_problems(sql: Statements) -> Iterator[str]:
    books = _books(sql)
    for identity, due in _sums(sql, "bridges").items():
        if due != (entered := books.get(bridge(identity), 0)):
            yield f"a bridge ({identity.hex()}) is owed {due}, and its entries add up to {entered}"
    vouchers: Any = sql.one(_VOUCHERS)
    if vouchers["total"] != (entered := books.get(VOUCHERS, 0)):
        yield f"open vouchers are worth {vouchers['total']}, and their entries add up to {entered}"
    unproved: Any = sql.one(_UNPROVED)
    if unproved["unproved"]:
        yield f"{unproved['unproved']} exchanges are charged without a receipt"
    stray: Any = sql.one(_STRAY)
    if stray["stray"]:
        yield f"{stray['stray']} exchanges name an account, a token or a signer that is not there"


def _books(sql: Statements) -> dict[str, int]:
    return {row["book"]: row["total"] for row in sql.all(_BOOKS)}


def _sums(sql: Statements, name: str) -> dict[Any, int]:
    return {row["owner"]: row["total"] for row in sql.all(_SUMS[name])}
