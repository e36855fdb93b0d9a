"""The one door to the books.

Every method is one transaction: it is in the books when the method returns, and nothing of it is if it raises.
Methods may be called from any thread, and several processes may have the same books open. `now` is Unix seconds;
`by` says who acted, for the audit log. Amounts are units.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Self

from blindrelay.ledger.books.rows import (
    Account,
    Allowance,
    AuditEntry,
    Check,
    Credit,
    End,
    Evidence,
    Lease,
    Limit,
    Limits,
    Line,
    LinesTaken,
    Overview,
    Posted,
    Receipt,
    Scope,
    Settlement,
    SignedTable,
    Start,
    Statement,
    Token,
    Voucher,
    Watermark,
)

_OPEN = Scope()
_DEFAULTS = Limits()


class Books:
    """Accounts, allowances, exchanges and receipts. Money has this one copy and this one writer."""

    def __init__(self, path: Path, *, random: Callable[[int], bytes] = token_bytes) -> None:
        """Opens the file, makes it (0600) if need be, and brings its schema up to date. Raises BooksError."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the file. The books cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Accounts and tokens

    def add_account(
        self, name: str, limits: Limits = _DEFAULTS, *, expires_at: int | None = None, by: str, now: int
    ) -> Account:
        """A new account without units. Raises TakenError, and InvalidError for the name or a limit.

        A name has 1 to 64 letters, digits and . _ -
        """
        raise NotImplementedError

    def account(self, name: str) -> Account:
        """Raises UnknownError."""
        raise NotImplementedError

    def accounts(self, *, after: str = "", limit: int = 100, contains: str = "") -> tuple[Account, ...]:
        """Accounts by name, from the one after `after` on."""
        raise NotImplementedError

    def token_of(self, digest: bytes, now: int) -> Token:
        """The token with that SHA-256. Raises UnknownError, also if the token or its account is not valid now."""
        raise NotImplementedError

    def update_account(
        self, name: str, *, enabled: bool, expires_at: int | None, by: str, now: int
    ) -> Account:
        """Enables or disables an account, and sets when it expires. Disabling revokes its leases."""
        raise NotImplementedError

    def set_limits(self, name: str, limits: Limits, *, by: str, now: int) -> Account:
        """Replaces all limits. What has been allowed before may still start, and the overdraft bound shrinks
        as that is settled. Raises UnknownError, InvalidError.
        """
        raise NotImplementedError

    def add_token(
        self,
        account: str,
        name: str,
        digest: bytes,
        *,
        expires_at: int | None = None,
        scope: Scope = _OPEN,
        by: str,
        now: int,
    ) -> Token:
        """A token by its SHA-256 (32 bytes); an empty name becomes the id. Raises UnknownError, TakenError,
        InvalidError.
        """
        raise NotImplementedError

    def tokens(self, account: str) -> tuple[Token, ...]:
        """An account's tokens, revoked ones among them, oldest first. Raises UnknownError."""
        raise NotImplementedError

    def rotate_token(self, token: str, digest: bytes, *, by: str, now: int) -> Token:
        """A new token with another's name, scope and expiry; that one is revoked. Raises UnknownError."""
        raise NotImplementedError

    def revoke_token(self, token: str, *, by: str, now: int) -> Token:
        """Revokes a token (by its id) and its leases. Repeating it changes nothing. Raises UnknownError."""
        raise NotImplementedError

    # Units

    def credit(self, account: str, units: int, reference: str, *, by: str, now: int) -> Credit:
        """Adds units, once for each reference of the account; below 0 it takes them back.

        Raises UnknownError, TakenError if the reference was used for another amount, and InvalidError if units
        are 0 or too many, or if taking them back would break the overdraft bound.
        """
        raise NotImplementedError

    def add_vouchers(
        self,
        digests: Sequence[bytes],
        units: int,
        *,
        expires_at: int | None = None,
        reference: str = "",
        by: str,
        now: int,
    ) -> tuple[Voucher, ...]:
        """Vouchers by the SHA-256 of their codes (32 bytes each). Raises InvalidError, TakenError."""
        raise NotImplementedError

    def vouchers(self, *, after: str = "", limit: int = 100) -> tuple[Voucher, ...]:
        """Newest first, from the one older than the voucher with id `after` on."""
        raise NotImplementedError

    def redeem_voucher(self, account: str, digest: bytes, *, by: str, now: int) -> Voucher:
        """Adds a voucher's units to the account, once. Raises UnknownError for an account, and for a code that
        does not exist or is redeemed, revoked or expired.
        """
        raise NotImplementedError

    def revoke_voucher(self, voucher: str, *, by: str, now: int) -> Voucher:
        """Revokes a voucher (by its id). Raises UnknownError, InvalidError if it is redeemed."""
        raise NotImplementedError

    # Leases and lines

    def lease_keys(self, now: int) -> tuple[bytes, ...]:
        """The keys that sign leases, newest first, at most two, 32 bytes each. Draws one each day."""
        raise NotImplementedError

    def lease(self, digest: bytes, node: bytes, now: int) -> Lease | Limit:
        """A lease for whoever holds the token with that SHA-256, at a node (16 bytes), or why there is none."""
        raise NotImplementedError

    def revoked_leases(self, now: int) -> tuple[str, ...]:
        """The ids of unexpired leases that are revoked."""
        raise NotImplementedError

    def acknowledged(self, node: bytes) -> int:
        """The number of the node's last line in the books, or 0."""
        raise NotImplementedError

    def take_lines(
        self, node: bytes, first_sequence: int, lines: Sequence[Start | End], now: int
    ) -> LinesTaken:
        """A node's lines in order. Repeated ones change nothing. With the allowances of all accounts concerned."""
        raise NotImplementedError

    def allowances(
        self, node: bytes, now: int, accounts: Collection[str] | None = None
    ) -> tuple[Allowance, ...]:
        """A node's allowances, refreshed: of these accounts (pseudonyms), or of all that have a lease there.

        An account without a lease at the node is left out.
        """
        raise NotImplementedError

    def nodes(self) -> tuple[bytes, ...]:
        """The nodes that hold allowances."""
        raise NotImplementedError

    def release_node(self, node: bytes) -> frozenset[str]:
        """Takes back a node's allowances, for one that no longer reports. It may come back.

        Returns the accounts (pseudonyms) whose other nodes may now have more.
        """
        raise NotImplementedError

    # Settlement

    def post(self, receipts: Sequence[Receipt], now: int) -> Posted:
        """Settles exchanges by their receipts. When it returns, all of them may be acknowledged."""
        raise NotImplementedError

    def close_exchanges(self, watermark: Watermark, now: int) -> frozenset[str]:
        """Voids what the watermark closes; call it after the receipts that came before it are posted.

        Returns the accounts (pseudonyms) whose allowances may have changed.
        """
        raise NotImplementedError

    def tidy(self, now: int) -> frozenset[str]:
        """What time brings: exchanges lapse, leases and allowances end, waiting receipts are posted.

        Call it every few seconds. Returns the accounts (pseudonyms) whose allowances may have changed.
        """
        raise NotImplementedError

    def add_price_table(self, table_hash: bytes, table: SignedTable, now: int) -> None:
        """Keeps a price table under the SHA-256 of its bytes."""
        raise NotImplementedError

    def price_table(self, table_hash: bytes) -> SignedTable | None:
        """The price table with that SHA-256."""
        raise NotImplementedError

    # Reading

    def statement(self, account: str, month: str, now: int) -> Statement:
        """The sums of a month ("YYYY-MM"; empty for the present one). Raises UnknownError, InvalidError."""
        raise NotImplementedError

    def lines(
        self, account: str | None, month: str, now: int, *, after: int = 0, limit: int = 1000
    ) -> tuple[Line, ...]:
        """The exchanges of an account, or of all, that started in a month ("YYYY-MM"; empty for the present one,
        "*" for all), oldest first, from the one after number `after` on. Raises UnknownError, InvalidError.
        """
        raise NotImplementedError

    def check(self) -> Check:
        """Adds everything up again and compares it with what the accounts say."""
        raise NotImplementedError

    def overview(self, now: int, *, days: int = 30) -> Overview:
        """All accounts together, and the last days, oldest first."""
        raise NotImplementedError

    def settlement(self, now: int) -> Settlement:
        """How settlement stands."""
        raise NotImplementedError

    def evidence(self, *, before: int = 0, limit: int = 100) -> tuple[Evidence, ...]:
        """Receipts that were kept and not charged, newest first, below number `before` unless it is 0."""
        raise NotImplementedError

    def audit(self, *, before: int = 0, limit: int = 100) -> tuple[AuditEntry, ...]:
        """Who changed what, newest first, below number `before` unless it is 0."""
        raise NotImplementedError
