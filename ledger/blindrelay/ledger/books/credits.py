"""How units come to an account: by a credit or a voucher, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from blindrelay.ledger.books import audit
from blindrelay.ledger.books.account_rows import MAX_AMOUNT, Credit, Voucher
from blindrelay.ledger.books.accounts import account_row
from blindrelay.ledger.books.errors import InvalidError, TakenError, UnknownError
from blindrelay.ledger.books.store import Statements
from blindrelay.ledger.books.tokens import check_digest
from blindrelay.ledger.books.transfers import CREDITS, VOUCHERS, customer, transfer

MAX_BALANCE: Final = 10**18
"""Units: as many as fit into 63 bits together with a bound."""
MAX_VOUCHERS: Final = 1_000
"""The most vouchers of one request."""
MAX_REFERENCE: Final = 200
"""Characters."""

_CREDIT = """
INSERT INTO credit (account, reference, units, at) VALUES (:account, :reference, :units, :now)
ON CONFLICT (account, reference) DO NOTHING
RETURNING units
"""

_CREDITED = "SELECT units, at FROM credit WHERE account = :account AND reference = :reference"

_ADD_UNITS = """
UPDATE account SET balance = balance + :units
WHERE id = :account AND balance + :units + bound >= held AND balance + :units <= :most
RETURNING balance
"""

_ADD_VOUCHER = """
INSERT INTO voucher (id, digest, units, reference, created_at, expires_at)
VALUES (:id, :digest, :units, :reference, :now, :expires_at)
ON CONFLICT DO NOTHING
RETURNING number
"""

_BY_ID = """
SELECT voucher.*, account.name AS account_name FROM voucher LEFT JOIN account ON account.id = voucher.account
WHERE voucher.id = :id
"""

_PAGE = """
SELECT voucher.*, account.name AS account_name FROM voucher LEFT JOIN account ON account.id = voucher.account
WHERE :after = '' OR number < (SELECT older.number FROM voucher AS older WHERE older.id = :after)
ORDER BY number DESC LIMIT :limit
"""

_REDEEM = """
UPDATE voucher SET redeemed_at = :now, account = :account
WHERE digest = :digest
    AND redeemed_at IS NULL AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > :now)
RETURNING id, units
"""

_REVOKE = """
UPDATE voucher SET revoked_at = :now WHERE id = :id AND redeemed_at IS NULL AND revoked_at IS NULL
RETURNING units
"""


def credit(sql: Statements, account: str, units: int, reference: str, by: str, now: int) -> Credit:
    """Adds units, once for each reference. Raises UnknownError, TakenError, InvalidError."""
    if units == 0 or abs(units) > MAX_AMOUNT:
        raise InvalidError(f"a credit is not 0, and at most {MAX_AMOUNT} units either way")
    _check_reference(reference)
    row = account_row(sql, account)
    if sql.one(_CREDIT, account=row["id"], reference=reference, units=units, now=now) is None:
        return _repeated(sql, row["id"], account, units, reference)
    _add_units(sql, row["id"], account, units)
    payer, payee = CREDITS, customer(row["id"])
    transfer(sql, *((payer, payee) if units > 0 else (payee, payer)), abs(units), now)
    audit.note(sql, "credit", account, by=by, now=now, after={"units": units, "reference": reference})
    return Credit(now, account, units, reference)


def add_vouchers(
    sql: Statements,
    digests: Sequence[bytes],
    units: int,
    expires_at: int | None,
    reference: str,
    new_id: Callable[[], str],
    by: str,
    now: int,
) -> tuple[Voucher, ...]:
    """Vouchers by their codes' SHA-256. Raises InvalidError, TakenError."""
    if not 0 < units <= MAX_AMOUNT or not 0 < len(digests) <= MAX_VOUCHERS:
        raise InvalidError(f"vouchers: 1 to {MAX_VOUCHERS} of them, each of 1 to {MAX_AMOUNT} units")
    if reference:
        _check_reference(reference)
    added = tuple(
        _add_voucher(sql, digest, units, expires_at, reference, new_id(), now) for digest in digests
    )
    transfer(sql, CREDITS, VOUCHERS, units * len(digests), now)
    what = {"units": units, "count": len(digests), "reference": reference}
    audit.note(sql, "voucher add", added[0].id, by=by, now=now, after=what)
    return added


def read_vouchers(sql: Statements, after: str, limit: int) -> tuple[Voucher, ...]:
    """Newest first, from the one older than `after` on."""
    return tuple(_voucher(row) for row in sql.all(_PAGE, after=after, limit=limit))


def redeem_voucher(sql: Statements, account: str, digest: bytes, by: str, now: int) -> Voucher:
    """Adds a voucher's units to the account, once. Raises UnknownError."""
    row = account_row(sql, account)
    redeemed = sql.one(_REDEEM, digest=digest, account=row["id"], now=now)
    if redeemed is None:
        raise UnknownError("the voucher's code is unknown, redeemed, revoked or expired")
    reference = f"voucher {redeemed['id']}"
    sql.run(_CREDIT, account=row["id"], reference=reference, units=redeemed["units"], now=now)
    _add_units(sql, row["id"], account, redeemed["units"])
    transfer(sql, VOUCHERS, customer(row["id"]), redeemed["units"], now)
    audit.note(sql, "voucher redeem", redeemed["id"], by=by, now=now, after={"account": account})
    return _read_voucher(sql, redeemed["id"])


def revoke_voucher(sql: Statements, voucher: str, by: str, now: int) -> Voucher:
    """Revokes a voucher; a revoked one stays as it is. Raises UnknownError, InvalidError."""
    if _read_voucher(sql, voucher).redeemed_at is not None:
        raise InvalidError(f'the voucher "{voucher}" is redeemed: take its units back with a negative credit')
    revoked = sql.one(_REVOKE, id=voucher, now=now)
    if revoked is not None:
        transfer(sql, VOUCHERS, CREDITS, revoked["units"], now)
        audit.note(sql, "voucher revoke", voucher, by=by, now=now)
    return _read_voucher(sql, voucher)


def _repeated(sql: Statements, number: int, account: str, units: int, reference: str) -> Credit:
    before = sql.one(_CREDITED, account=number, reference=reference)
    if before is None or before["units"] != units:
        raise TakenError(f'"{account}" has another credit with the reference "{reference}": use a new one')
    return Credit(before["at"], account, units, reference, repeated=True)


def _add_units(sql: Statements, number: int, account: str, units: int) -> None:
    if sql.one(_ADD_UNITS, account=number, units=units, most=MAX_BALANCE) is None:
        raise InvalidError(
            f'"{account}" cannot have {abs(units)} units '
            + ("more" if units > 0 else "less: they are spent, or set aside for running exchanges")
        )


def _add_voucher(
    sql: Statements,
    digest: bytes,
    units: int,
    expires_at: int | None,
    reference: str,
    voucher: str,
    now: int,
) -> Voucher:
    check_digest(digest)
    added = sql.one(
        _ADD_VOUCHER,
        id=voucher,
        digest=digest,
        units=units,
        reference=reference,
        now=now,
        expires_at=expires_at,
    )
    if added is None:
        raise TakenError("a voucher with that code exists already")
    return _read_voucher(sql, voucher)


def _read_voucher(sql: Statements, voucher: str) -> Voucher:
    row = sql.one(_BY_ID, id=voucher)
    if row is None:
        raise UnknownError(f'no voucher has the id "{voucher[:80]}"')
    return _voucher(row)


def _voucher(row: Any) -> Voucher:
    return Voucher(
        id=row["id"],
        units=row["units"],
        reference=row["reference"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        redeemed_at=row["redeemed_at"],
        revoked_at=row["revoked_at"],
        account=row["account_name"],
    )


def _check_reference(reference: str) -> None:
    if not 0 < len(reference) <= MAX_REFERENCE or not reference.isprintable():
        raise InvalidError(f"a reference has 1 to {MAX_REFERENCE} printable characters")
    if reference.startswith("voucher "):
        raise InvalidError('a reference does not begin with "voucher ": that names redeemed vouchers')
