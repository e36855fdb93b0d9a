"""Accounts: added, enabled, disabled, limited."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, Final

from blindrelay.ledger.books import audit
from blindrelay.ledger.books.account_rows import Account, Limits
from blindrelay.ledger.books.errors import InvalidError, TakenError, UnknownError
from blindrelay.ledger.books.limits import (
    check_limits,
    columns_of,
    limits_of,
    quotas,
    set_limits,
    set_quotas,
    uses_of,
)
from blindrelay.ledger.books.store import Statements

ID_BYTES: Final = 12
"""Random bytes of a pseudonym or lease."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_ADD = """
INSERT INTO account (
    pseudonym, name, enabled, created_at, expires_at, balance, held,
    max_units, concurrent, own_overdraft, overdraft, bound, rate, burst
)
VALUES (
    :pseudonym, :name, 1, :now, :expires_at, 0, 0,
    :max_units, :concurrent, :own_overdraft, :overdraft, :overdraft, :rate, :burst
)
ON CONFLICT (name) DO NOTHING
RETURNING id
"""

_ACCOUNT = """
SELECT account.*,
    COALESCE(running.exchanges, 0) AS outstanding,
    (SELECT CAST(COALESCE(SUM(units), 0) AS BIGINT) FROM credit WHERE credit.account = account.id) AS credited
FROM account
    LEFT JOIN (
        SELECT account, COUNT(*) AS exchanges FROM exchange WHERE state = 1 GROUP BY account
    ) AS running ON running.account = account.id
"""

_BY_NAME = f"{_ACCOUNT} WHERE name = :name"

_PAGE = f"""
{_ACCOUNT}
WHERE name > :after AND LOWER(name) LIKE :pattern ESCAPE '!'
ORDER BY name LIMIT :limit
"""

_UPDATE = "UPDATE account SET enabled = :enabled, expires_at = :expires_at WHERE id = :account"

_REVOKE_LEASES = "UPDATE lease SET revoked = 1 WHERE account = :account AND expires_at > :now"


def random_id(random: Callable[[int], bytes]) -> str:
    """12 random bytes in base64url. It does not begin with a dash, as an option of a command does."""
    while (drawn := base64.urlsafe_b64encode(random(ID_BYTES)).decode("ascii")).startswith("-"):
        pass
    return drawn


def check_name(name: str) -> None:
    """Raises InvalidError unless it is 1 to 64 letters, digits and . _ -"""
    if not _NAME.fullmatch(name):
        raise InvalidError(f'"{name[:80]}" is not a valid name: use 1 to 64 letters, digits and . _ -')


def add_account(
    sql: Statements, name: str, limits: Limits, expires_at: int | None, pseudonym: str, by: str, now: int
) -> Account:
    """A new account. Raises TakenError, InvalidError."""
    check_name(name)
    check_limits(limits)
    columns = columns_of(limits)
    added = sql.one(_ADD, pseudonym=pseudonym, name=name, now=now, expires_at=expires_at, **columns)
    if added is None:
        raise TakenError(f'an account named "{name}" exists already: choose another name')
    set_quotas(sql, added["id"], limits, now)
    account = read_account(sql, name)
    audit.note(sql, "account add", name, by=by, now=now, after=_settings(account))
    return account


def account_row(sql: Statements, name: str) -> Any:
    """The account's row. Raises UnknownError."""
    row = sql.one(_BY_NAME, name=name)
    if row is None:
        raise UnknownError(f'no account is named "{name[:80]}"')
    return row


def read_account(sql: Statements, name: str) -> Account:
    """Raises UnknownError."""
    return _account(sql, account_row(sql, name))


def read_accounts(sql: Statements, after: str, limit: int, contains: str) -> tuple[Account, ...]:
    """Accounts by name, from the one after `after` on."""
    literal = re.sub(r"([!%_])", r"!\1", contains.lower())
    rows = sql.all(_PAGE, after=after, pattern=f"%{literal}%", limit=limit)
    return tuple(_account(sql, row) for row in rows)


def update_account(
    sql: Statements, name: str, enabled: bool, expires_at: int | None, by: str, now: int
) -> Account:
    """Enables or disables, and sets when the account expires. Raises UnknownError."""
    row = account_row(sql, name)
    before = _account(sql, row)
    sql.run(_UPDATE, account=row["id"], enabled=int(enabled), expires_at=expires_at)
    if not enabled or (expires_at is not None and expires_at <= now):
        sql.run(_REVOKE_LEASES, account=row["id"], now=now)
    account = read_account(sql, name)
    audit.note(
        sql, "account update", name, by=by, now=now, before=_settings(before), after=_settings(account)
    )
    return account


def replace_limits(sql: Statements, name: str, limits: Limits, by: str, now: int) -> Account:
    """Replaces all limits. Raises UnknownError, InvalidError."""
    check_limits(limits)
    row = account_row(sql, name)
    before = _account(sql, row)
    set_limits(sql, row["id"], limits, now)
    audit.note(sql, "limit set", name, by=by, now=now, before=before.limits, after=limits)
    return read_account(sql, name)


def _settings(account: Account) -> dict[str, object]:
    return {"enabled": account.enabled, "expires_at": account.expires_at}


def _account(sql: Statements, row: Any) -> Account:
    quota_rows = quotas(sql, row["id"])
    return Account(
        name=row["name"],
        pseudonym=row["pseudonym"],
        enabled=bool(row["enabled"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        balance=row["balance"],
        charged=row["credited"] - row["balance"],
        outstanding=row["outstanding"],
        overdraft_bound=row["bound"],
        limits=limits_of(row, quota_rows),
        uses=uses_of(quota_rows),
    )
