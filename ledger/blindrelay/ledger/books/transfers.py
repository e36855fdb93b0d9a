"""Double entry: units move from one book to another, so that all books add up to 0."""

from __future__ import annotations

from typing import Final

from blindrelay.ledger.books.store import Statements

CREDITS: Final = "credits"
"""The operator's side of credits and vouchers."""
VOUCHERS: Final = "vouchers"
"""Units of vouchers that are neither redeemed nor revoked."""

_TRANSFER = """
INSERT INTO transfer (at, payer, payee, units, exchanges) VALUES (:now, :payer, :payee, :units, :exchanges)
"""


def customer(account: int) -> str:
    """The book of an account."""
    return f"account {account}"


def bridge(identity: bytes) -> str:
    """The book of what is owed to a bridge (its identity, 32 bytes)."""
    return f"bridge {identity.hex()}"


def transfer(sql: Statements, payer: str, payee: str, units: int, now: int, exchanges: int = 0) -> None:
    """Moves units, above 0, from one book to another, for that number of exchanges."""
    sql.run(_TRANSFER, now=now, payer=payer, payee=payee, units=units, exchanges=exchanges)
