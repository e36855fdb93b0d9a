"""Double entry: units move from one book to another, so that all books add up to 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blindrelay.ledger.books.set_statement import SetStatement
from blindrelay.ledger.books.store import Statements

CREDITS: Final = "credits"
"""The operator's side of credits and vouchers."""
VOUCHERS: Final = "vouchers"
"""Units of vouchers that are neither redeemed nor revoked."""

_TRANSFERS = SetStatement(
    "payer TEXT, payee TEXT, units INTEGER, exchanges INTEGER",
    """
    INSERT INTO transfer (at, payer, payee, units, exchanges)
    SELECT :now, payer, payee, units, exchanges FROM given
    """,
)


def customer(account: int) -> str:
    """The book of an account."""
    return f"account {account}"


def bridge(identity: bytes) -> str:
    """The book of what is owed to a bridge (its identity, 32 bytes)."""
    return f"bridge {identity.hex()}"


def transfer(sql: Statements, payer: str, payee: str, units: int, now: int) -> None:
    """Moves units, above 0, from one book to another."""
    transfer_each(sql, [(payer, payee, units, 0)], now)


def transfer_each(sql: Statements, transfers: Sequence[tuple[str, str, int, int]], now: int) -> None:
    """Moves units, above 0, for each payer, payee, units and number of exchanges."""
    sql.for_all(_TRANSFERS, transfers, now=now)
