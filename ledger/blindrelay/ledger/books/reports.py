"""Reports on exchanges and units: statements, sums, and the state of settlement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from blindrelay.ledger.books.account_rows import Credit
from blindrelay.ledger.books.accounts import account_row
from blindrelay.ledger.books.exchange_rows import Outcome, SignedTable, State
from blindrelay.ledger.books.lines import receipt_of
from blindrelay.ledger.books.periods import DAY, day_start, month_bounds
from blindrelay.ledger.books.report_rows import (
    Day,
    Evidence,
    Line,
    Overview,
    Replica,
    Settlement,
    Statement,
)
from blindrelay.ledger.books.settlement import LATE_SECONDS
from blindrelay.ledger.books.store import Statements

EVERY_MONTH: Final = "*"

_CHARGED = """
SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) AS units FROM exchange
WHERE account = :account AND at >= :first AND at < :end AND state = 2
"""

_CREDITS = """
SELECT at, units, reference FROM credit
WHERE account = :account AND at >= :first AND at < :end
ORDER BY at, reference
"""

_LINES = """
SELECT exchange.number, account.name AS account, envelope_hash, exchange.at, state, exchange_id,
    CASE WHEN state = 2 THEN units ELSE 0 END AS units, token.name AS token,
    receipt, signature, delegation, delegation_signature
FROM exchange
    JOIN account ON account.id = exchange.account
    JOIN token ON token.id = exchange.token
    LEFT JOIN signer ON signer.id = exchange.signer
"""

_ALL_LINES = f"""{_LINES}
WHERE exchange.number > :after AND exchange.at >= :first AND exchange.at < :end
ORDER BY exchange.number LIMIT :limit
"""

# The index exchange_line has the order, so that no page sorts the month.
_ACCOUNT_LINES = f"""{_LINES}
WHERE exchange.account = :account AND exchange.at < :end
    AND (exchange.at, exchange.number) > (:first, :after)
ORDER BY exchange.at, exchange.number LIMIT :limit
"""

_NEWEST_LINES = f"""{_LINES}
WHERE exchange.account = :account AND exchange.at >= :first AND exchange.at < :end
ORDER BY exchange.at DESC, exchange.number DESC LIMIT :limit
"""

_AT = "SELECT at FROM exchange WHERE number = :after"

_ACCOUNTS = """
SELECT COUNT(*) AS accounts, CAST(COALESCE(SUM(enabled), 0) AS BIGINT) AS enabled,
    CAST(COALESCE(SUM(balance), 0) AS BIGINT) AS balance
FROM account
"""

_OPEN = "SELECT COUNT(*) AS open, MIN(at) AS oldest FROM exchange WHERE state = 1"

# By account, since exchange_line is the index that has the times.
_DAYS = """
SELECT at / 86400 AS day, COUNT(*) AS exchanges,
    CAST(COALESCE(SUM(CASE WHEN state = 2 THEN units ELSE 0 END), 0) AS BIGINT) AS units
FROM account JOIN exchange ON exchange.account = account.id
WHERE at >= :first GROUP BY at / 86400
"""

_LAPSED = """
SELECT COUNT(*) AS lapsed FROM exchange WHERE state = 4 AND receipt IS NULL AND lapsed_at + :late >= :now
"""

_WAITING = "SELECT COUNT(*) AS waiting FROM exchange WHERE state = 4 AND receipt IS NOT NULL"

_KEPT = "SELECT kind, COUNT(*) AS receipts FROM evidence GROUP BY kind"

_REPLICAS = "SELECT * FROM replica ORDER BY identity, started_at, replica_id"

_EVIDENCE = """
SELECT * FROM evidence WHERE :before = 0 OR number < :before ORDER BY number DESC LIMIT :limit
"""

_ADD_TABLE = """
INSERT INTO price_table (table_hash, price_table, signature, delegation, delegation_signature, added_at)
VALUES (:table_hash, :price_table, :signature, :delegation, :delegation_signature, :now)
ON CONFLICT (table_hash) DO NOTHING
"""

_TABLE = """
SELECT price_table, signature, delegation, delegation_signature
FROM price_table WHERE table_hash = :table_hash
"""


def statement(sql: Statements, account: str, month: str, now: int) -> Statement:
    """The sums of a month. Raises UnknownError, InvalidError."""
    first, end = month_bounds(month, now)
    row = account_row(sql, account)
    values = {"account": row["id"], "first": first, "end": end}
    charged: Any = sql.one(_CHARGED, **values)
    credited = (
        Credit(each["at"], account, each["units"], each["reference"]) for each in sql.all(_CREDITS, **values)
    )
    return Statement(row["balance"], row["bound"], charged["units"], tuple(credited))


def lines(
    sql: Statements, account: str | None, month: str, now: int, after: int, limit: int
) -> tuple[Line, ...]:
    """Exchanges, oldest first. Raises UnknownError, InvalidError."""
    bounds = {**_bounds(month, now), "after": after, "limit": limit}
    if account is None:
        return tuple(_line(row) for row in sql.all(_ALL_LINES, **bounds))
    number = account_row(sql, account)["id"]
    if last := sql.one(_AT, after=after):
        bounds["first"] = max(bounds["first"], last["at"])
    return tuple(_line(row) for row in sql.all(_ACCOUNT_LINES, account=number, **bounds))


def newest_lines(sql: Statements, account: str, month: str, now: int, limit: int) -> tuple[Line, ...]:
    """An account's exchanges, newest first. Raises UnknownError, InvalidError."""
    number = account_row(sql, account)["id"]
    bounds = _bounds(month, now)
    return tuple(_line(row) for row in sql.all(_NEWEST_LINES, account=number, limit=limit, **bounds))


def _bounds(month: str, now: int) -> dict[str, int]:
    first, end = (0, 1 << 62) if month == EVERY_MONTH else month_bounds(month, now)
    return {"first": first, "end": end}


def overview(sql: Statements, now: int, days: int) -> Overview:
    """All accounts together."""
    accounts: Any = sql.one(_ACCOUNTS)
    open_: Any = sql.one(_OPEN)
    first = day_start(now) - (days - 1) * DAY
    rows = {row["day"]: row for row in sql.all(_DAYS, first=first)}
    return Overview(
        accounts=accounts["accounts"],
        enabled=accounts["enabled"],
        balance=accounts["balance"],
        open=open_["open"],
        days=tuple(_day(day, rows.get(day)) for day in range(first // DAY, day_start(now) // DAY + 1)),
    )


def settlement(sql: Statements, now: int) -> Settlement:
    """The state of settlement."""
    open_: Any = sql.one(_OPEN)
    lapsed: Any = sql.one(_LAPSED, now=now, late=LATE_SECONDS)
    waiting: Any = sql.one(_WAITING)
    kept = kept_receipts(sql)
    return Settlement(
        open=open_["open"],
        oldest_open_at=open_["oldest"],
        lapsed=lapsed["lapsed"],
        waiting=waiting["waiting"],
        orphans=kept.get(Outcome.ORPHAN, 0),
        contradictions=kept.get(Outcome.CONTRADICTION, 0),
        replicas=tuple(_replica(row) for row in sql.all(_REPLICAS)),
    )


def kept_receipts(sql: Statements) -> dict[Outcome, int]:
    """How many receipts are kept and not charged, by kind."""
    return {Outcome(row["kind"]): row["receipts"] for row in sql.all(_KEPT)}


def evidence(sql: Statements, before: int, limit: int) -> tuple[Evidence, ...]:
    """Receipts that were kept and not charged, newest first."""
    return tuple(
        Evidence(
            row["number"], Outcome(row["kind"]), row["at"], receipt_of(sql, bytes(row["envelope_hash"]), row)
        )
        for row in sql.all(_EVIDENCE, before=before, limit=limit)
    )


def add_price_table(sql: Statements, table_hash: bytes, table: SignedTable, now: int) -> None:
    """Keeps a price table under the SHA-256 of its bytes."""
    sql.run(
        _ADD_TABLE,
        table_hash=table_hash,
        price_table=table.table,
        signature=table.signature,
        delegation=table.delegation,
        delegation_signature=table.delegation_signature,
        now=now,
    )


def price_table(sql: Statements, table_hash: bytes) -> SignedTable | None:
    """The price table with that SHA-256."""
    row = sql.one(_TABLE, table_hash=table_hash)
    if row is None:
        return None
    names = ("price_table", "signature", "delegation", "delegation_signature")
    return SignedTable(*(bytes(row[name]) for name in names))


def _line(row: Any) -> Line:
    names = ("receipt", "signature", "delegation", "delegation_signature")
    return Line(
        number=row["number"],
        account=row["account"],
        exchange_id=bytes(row["exchange_id"]),
        envelope_hash=bytes(row["envelope_hash"]),
        at=row["at"],
        state=State(row["state"]),
        units=row["units"],
        token=row["token"],
        **{name: bytes(row[name] or b"") for name in names},
    )


def _day(day: int, row: Any) -> Day:
    text = datetime.fromtimestamp(day * DAY, UTC).date().isoformat()
    return Day(text, row["units"], row["exchanges"]) if row else Day(text, 0, 0)


def _replica(row: Any) -> Replica:
    return Replica(
        identity=bytes(row["identity"]),
        replica_id=bytes(row["replica_id"]),
        started_at=row["started_at"],
        closed_before=row["closed_before"],
        ended=bool(row["ended"]),
        stated_count=row["stated_receipts"],
        stated_units=row["stated_units"],
        count=row["receipts"],
        units=row["units"],
    )
