"""The part of the books that an operator writes: accounts, tokens, units."""

from __future__ import annotations

from collections.abc import Sequence

from blindrelay.ledger.books.account_rows import Account, Credit, Limits, Scope, Token, Voucher
from blindrelay.ledger.books.accounts import (
    add_account,
    read_account,
    read_accounts,
    replace_limits,
    update_account,
)
from blindrelay.ledger.books.credits import (
    add_vouchers,
    credit,
    read_vouchers,
    redeem_voucher,
    revoke_voucher,
)
from blindrelay.ledger.books.open_books import OpenBooks
from blindrelay.ledger.books.tokens import add_token, revoke_token, rotate_token, tokens_of, valid_token

_OPEN = Scope()
_DEFAULTS = Limits()


class AccountBooks(OpenBooks):
    """Accounts, tokens, credits and vouchers."""

    def add_account(
        self, name: str, limits: Limits = _DEFAULTS, *, expires_at: int | None = None, by: str, now: int
    ) -> Account:
        """A new account without units. Raises TakenError, and InvalidError for the name or a limit.

        A name has 1 to 64 letters, digits and . _ -
        """
        with self._store.writing() as sql:
            return add_account(sql, name, limits, expires_at, self._new_id(), by, now)

    def account(self, name: str) -> Account:
        """Raises UnknownError."""
        with self._store.reading() as sql:
            return read_account(sql, name)

    def accounts(self, *, after: str = "", limit: int = 100, contains: str = "") -> tuple[Account, ...]:
        """Accounts by name, from the one after `after` on."""
        with self._store.reading() as sql:
            return read_accounts(sql, after, limit, contains)

    def token_of(self, digest: bytes, now: int) -> Token:
        """The token with that SHA-256. Raises UnknownError unless the token and its account are valid now."""
        with self._store.reading() as sql:
            return valid_token(sql, digest, now)

    def update_account(
        self, name: str, *, enabled: bool, expires_at: int | None, by: str, now: int
    ) -> Account:
        """Enables or disables an account, and sets when it expires. Disabling revokes its leases."""
        with self._store.writing() as sql:
            return update_account(sql, name, enabled, expires_at, by, now)

    def set_limits(self, name: str, limits: Limits, *, by: str, now: int) -> Account:
        """Replaces all limits. What has been allowed before may still start, and the overdraft bound shrinks
        as that is settled. Raises UnknownError, InvalidError.
        """
        with self._store.writing() as sql:
            return replace_limits(sql, name, limits, by, now)

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
        token = self._new_id()
        with self._store.writing() as sql:
            return add_token(sql, account, name, digest, expires_at, scope, token, by, now)

    def tokens(self, account: str) -> tuple[Token, ...]:
        """An account's tokens, revoked ones among them, oldest first. Raises UnknownError."""
        with self._store.reading() as sql:
            return tokens_of(sql, account)

    def rotate_token(self, token: str, digest: bytes, *, by: str, now: int) -> Token:
        """A new token with another's name, scope and expiry; that one is revoked. Raises UnknownError."""
        with self._store.writing() as sql:
            return rotate_token(sql, token, digest, self._new_id(), by, now)

    def revoke_token(self, token: str, *, by: str, now: int) -> Token:
        """Revokes a token (by its id) and its leases. Repeating it changes nothing. Raises UnknownError."""
        with self._store.writing() as sql:
            return revoke_token(sql, token, by, now)

    def credit(self, account: str, units: int, reference: str, *, by: str, now: int) -> Credit:
        """Adds units, once for each reference of the account; below 0 it takes them back.

        Raises UnknownError, and TakenError if the reference was used for another amount. Raises InvalidError
        if units are 0 or too many, or if taking them back would break the overdraft bound.
        """
        with self._store.writing() as sql:
            return credit(sql, account, units, reference, by, now)

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
        with self._store.writing() as sql:
            return add_vouchers(sql, digests, units, expires_at, reference, self._new_id, by, now)

    def vouchers(self, *, after: str = "", limit: int = 100) -> tuple[Voucher, ...]:
        """Newest first, from the one older than the voucher with id `after` on."""
        with self._store.reading() as sql:
            return read_vouchers(sql, after, limit)

    def redeem_voucher(self, account: str, digest: bytes, *, by: str, now: int) -> Voucher:
        """Adds a voucher's units to the account, once.

        Raises UnknownError for an account, and for a code that is unknown, redeemed, revoked or expired.
        """
        with self._store.writing() as sql:
            return redeem_voucher(sql, account, digest, by, now)

    def revoke_voucher(self, voucher: str, *, by: str, now: int) -> Voucher:
        """Revokes a voucher (by its id). Raises UnknownError, InvalidError if it is redeemed."""
        with self._store.writing() as sql:
            return revoke_voucher(sql, voucher, by, now)
