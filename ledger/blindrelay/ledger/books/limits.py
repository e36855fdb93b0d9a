"""The limits of an account: checked, stored and read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from blindrelay.ledger.books.account_rows import MAX_AMOUNT, Limits, Period, Quota, QuotaUse
from blindrelay.ledger.books.errors import InvalidError
from blindrelay.ledger.books.periods import period_end, period_start
from blindrelay.ledger.books.set_statement import SetStatement
from blindrelay.ledger.books.store import Row, Statements
from blindrelay.v1.envelope import is_unit_limit

MAX_CONCURRENT: Final = 100_000
"""Exchanges of one account at once: more than one relay process has."""
MAX_UNITS: Final = 10**12
"""Units of one exchange."""
MAX_RATE: Final = 1_000_000
"""Exchanges per second, and at once."""

KINDS: Final = ("units", "exchanges", "bytes")

_SET_LIMITS = """
UPDATE account SET
    max_units = :max_units, concurrent = :concurrent, own_overdraft = :own_overdraft, overdraft = :overdraft,
    bound = CASE WHEN held - balance > :overdraft THEN held - balance ELSE :overdraft END,
    rate = :rate, burst = :burst
WHERE id = :account
"""

_SET_QUOTA = """
INSERT INTO quota (account, kind, amount, period, used, since)
VALUES (:account, :kind, :amount, :period, 0, :since)
ON CONFLICT (account, kind) DO UPDATE SET
    amount = excluded.amount,
    used = CASE
        WHEN COALESCE(quota.period, '') = COALESCE(excluded.period, '') AND quota.since >= excluded.since
        THEN quota.used ELSE 0
    END,
    period = excluded.period,
    since = excluded.since
"""

_DROP_QUOTA = "DELETE FROM quota WHERE account = :account AND kind = :kind"

_QUOTAS = "SELECT kind, amount, period, used, since FROM quota WHERE account = :account ORDER BY kind"

_USE = SetStatement(
    "account INTEGER, kind TEXT, used INTEGER",
    """
    UPDATE quota SET used = quota.used + given.used FROM given
    WHERE quota.account = given.account AND quota.kind = given.kind
    """,
)

_RESET = """
UPDATE quota SET used = 0, since = CASE WHEN period = :day THEN :today ELSE :this_month END
WHERE (period = :day AND since < :today) OR (period = :month AND since < :this_month)
"""


def overdraft_of(limits: Limits) -> int:
    """How far the balance may fall below 0."""
    return limits.concurrent * limits.max_units if limits.overdraft is None else limits.overdraft


def check_limits(limits: Limits) -> None:
    """Raises InvalidError if a limit is out of its range."""
    if not is_unit_limit(limits.max_units) or limits.max_units > MAX_UNITS:
        raise InvalidError(f"max_units must be 1, 2 or 5 times a power of ten, at most {MAX_UNITS}")
    _check_range("concurrent", limits.concurrent, 1, MAX_CONCURRENT)
    _check_range("overdraft", limits.overdraft, 0, MAX_AMOUNT)
    _check_range("burst", limits.burst, 1, MAX_RATE)
    if limits.rate is not None and not (math.isfinite(limits.rate) and 0 < limits.rate <= MAX_RATE):
        raise InvalidError(f"the rate must be above 0 and at most {MAX_RATE} exchanges per second")
    for kind in KINDS:
        quota: Quota | None = getattr(limits, kind)
        _check_range(f"the quota of {kind}", quota.amount if quota else None, 0, MAX_AMOUNT)


def set_limits(sql: Statements, account: int, limits: Limits, now: int) -> None:
    """Replaces an account's limits. What a quota has counted stays, unless its period changes."""
    sql.run(_SET_LIMITS, account=account, **columns_of(limits))
    set_quotas(sql, account, limits, now)


def columns_of(limits: Limits) -> dict[str, Any]:
    """What an account's row keeps of its limits."""
    return {
        "max_units": limits.max_units,
        "concurrent": limits.concurrent,
        "own_overdraft": limits.overdraft,
        "overdraft": overdraft_of(limits),
        "rate": limits.rate,
        "burst": limits.burst,
    }


def set_quotas(sql: Statements, account: int, limits: Limits, now: int) -> None:
    """Replaces an account's quotas. What one has counted stays, unless its period changes."""
    for kind in KINDS:
        quota: Quota | None = getattr(limits, kind)
        if quota is None:
            sql.run(_DROP_QUOTA, account=account, kind=kind)
        else:
            sql.run(
                _SET_QUOTA,
                account=account,
                kind=kind,
                amount=quota.amount,
                period=quota.per and quota.per.value,
                since=period_start(quota.per, now),
            )


def quotas(sql: Statements, account: int) -> list[Any]:
    """The account's quotas as rows: kind, amount, period, used, since."""
    return sql.all(_QUOTAS, account=account)


def use(sql: Statements, used: Mapping[tuple[int, str], int]) -> None:
    """Counts what accounts have used of a kind against their quotas of it."""
    sql.for_all(_USE, [(account, kind, number) for (account, kind), number in sorted(used.items())])


def reset_quotas(sql: Statements, now: int) -> None:
    """Resets every quota whose period has ended."""
    sql.run(
        _RESET,
        day=Period.DAY.value,
        today=period_start(Period.DAY, now),
        month=Period.MONTH.value,
        this_month=period_start(Period.MONTH, now),
    )


def limits_of(account: Row, rows: list[Any]) -> Limits:
    """The limits in an account's row and its quotas' rows."""
    quotas = {row["kind"]: Quota(row["amount"], _period(row)) for row in rows}
    return Limits(
        max_units=account["max_units"],
        concurrent=account["concurrent"],
        overdraft=account["own_overdraft"],
        rate=account["rate"],
        burst=account["burst"],
        **quotas,
    )


def uses_of(rows: list[Any]) -> tuple[QuotaUse, ...]:
    """What is used of each quota."""
    return tuple(QuotaUse(row["kind"], row["used"], resets_at(row)) for row in rows)


def resets_at(quota: Row) -> int | None:
    """When a quota is reset."""
    return period_end(_period(quota), quota["since"])


def _period(quota: Row) -> Period | None:
    return Period(quota["period"]) if quota["period"] else None


def _check_range(what: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise InvalidError(f"{what} must be from {least} to {most}")
