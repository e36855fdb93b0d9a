"""Access tokens: kept as hashes, found by their hash, revoked together with their leases."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, Final

from blindrelay.ledger.books import audit
from blindrelay.ledger.books.account_rows import Scope, Token
from blindrelay.ledger.books.accounts import account_row, check_name
from blindrelay.ledger.books.errors import InvalidError, TakenError, UnknownError
from blindrelay.ledger.books.store import Statements
from blindrelay.v1.identity_text import parse_identity

DIGEST_SIZE: Final = 32
"""Bytes of a SHA-256."""

MAX_SCOPE: Final = 16
"""Bridges, classes or addresses of one token: a lease with all of them still fits into a header."""

_ADD = """
INSERT INTO token (id, account, name, digest, created_at, expires_at, scope)
VALUES (:id, :account, :name, :digest, :now, :expires_at, :scope)
ON CONFLICT DO NOTHING
RETURNING id
"""

_SELECT = "SELECT token.*, account.name AS account_name FROM token JOIN account ON account.id = token.account"

_BY_ID = f"{_SELECT} WHERE token.id = :id"

_OF_ACCOUNT = f"{_SELECT} WHERE token.account = :account ORDER BY token.created_at, token.id"

VALID: Final = f"""
{_SELECT}
WHERE digest = :digest
    AND token.revoked_at IS NULL AND (token.expires_at IS NULL OR token.expires_at > :now)
    AND account.enabled = 1 AND (account.expires_at IS NULL OR account.expires_at > :now)
"""
"""A token that may be used now, by its digest."""

_REVOKE = "UPDATE token SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id"

_REVOKE_LEASES = "UPDATE lease SET revoked = 1 WHERE token = :id AND expires_at > :now"


def add_token(
    sql: Statements,
    account: str,
    name: str,
    digest: bytes,
    expires_at: int | None,
    scope: Scope,
    token_id: str,
    by: str,
    now: int,
) -> Token:
    """A token by its SHA-256. Raises UnknownError, TakenError, InvalidError."""
    name = name or token_id
    check_name(name)
    check_digest(digest)
    _check_scope(scope)
    row = account_row(sql, account)
    added = sql.one(
        _ADD,
        id=token_id,
        account=row["id"],
        name=name,
        digest=digest,
        now=now,
        expires_at=expires_at,
        scope=_to_text(scope),
    )
    if added is None:
        raise TakenError(f'"{account}" has a token named "{name}" already: revoke it or choose another name')
    audit.note(sql, "token issue", token_id, by=by, now=now, after={"account": account, "name": name})
    return read_token(sql, token_id)


def read_token(sql: Statements, token_id: str) -> Token:
    """A token by its id. Raises UnknownError."""
    row = sql.one(_BY_ID, id=token_id)
    if row is None:
        raise UnknownError(f'no token has the id "{token_id[:80]}"')
    return _token(row)


def valid_token(sql: Statements, digest: bytes, now: int) -> Token:
    """The token with that SHA-256, if it may be used now. Raises UnknownError."""
    row = sql.one(VALID, digest=digest, now=now)
    if row is None:
        raise UnknownError("the token is unknown, revoked or expired")
    return _token(row)


def tokens_of(sql: Statements, account: str) -> tuple[Token, ...]:
    """All tokens of an account, oldest first. Raises UnknownError."""
    rows = sql.all(_OF_ACCOUNT, account=account_row(sql, account)["id"])
    return tuple(_token(row) for row in rows)


def rotate_token(sql: Statements, old_id: str, digest: bytes, new_id: str, by: str, now: int) -> Token:
    """A new token with the old one's name, scope and expiry. Raises UnknownError, InvalidError."""
    old = read_token(sql, old_id)
    if old.revoked_at is not None:
        raise InvalidError(f'the token "{old_id}" is revoked: issue a new one')
    revoke_token(sql, old_id, by, now)
    return add_token(sql, old.account, old.name, digest, old.expires_at, old.scope, new_id, by, now)


def revoke_token(sql: Statements, token_id: str, by: str, now: int) -> Token:
    """Revokes a token and its leases; a revoked one stays as it is. Raises UnknownError."""
    token = read_token(sql, token_id)
    if sql.one(_REVOKE, id=token_id, now=now) is not None:
        sql.run(_REVOKE_LEASES, id=token_id, now=now)
        what = {"account": token.account, "name": token.name}
        audit.note(sql, "token revoke", token_id, by=by, now=now, before=what)
    return read_token(sql, token_id)


def check_digest(digest: bytes) -> None:
    """Raises InvalidError unless it has the size of a SHA-256."""
    if len(digest) != DIGEST_SIZE:
        raise InvalidError(f"a digest has {DIGEST_SIZE} bytes, and this one has {len(digest)}")


def scope_of(row: Any) -> Scope:
    """The scope in a token's row."""
    fields: dict[str, list[Any]] = json.loads(row["scope"])
    return Scope(**{name: tuple(values) for name, values in fields.items()})


def _token(row: Any) -> Token:
    return Token(
        id=row["id"],
        account=row["account_name"],
        name=row["name"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used=row["last_used"],
        scope=scope_of(row),
    )


def _to_text(scope: Scope) -> str:
    return json.dumps({"bridges": scope.bridges, "classes": scope.classes, "addresses": scope.addresses})


def _check_scope(scope: Scope) -> None:
    for name, values in (
        ("bridges", scope.bridges),
        ("classes", scope.classes),
        ("addresses", scope.addresses),
    ):
        if len(values) > MAX_SCOPE:
            raise InvalidError(f"a token's scope has at most {MAX_SCOPE} {name}")
    for bridge in scope.bridges:
        try:
            parse_identity(bridge)
        except ValueError as error:
            raise InvalidError(f'"{bridge[:80]}" is not an identity: {error}') from None
    for address in scope.addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError as error:
            raise InvalidError(f'"{address[:80]}" is not a network: {error}') from None
    if any(not 0 <= each < 1 << 32 for each in scope.classes):
        raise InvalidError("a service class is a number from 0 to 4294967295")
