"""Leases: what a token's holder may do at one node for some minutes, and the keys that sign them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from blindrelay.ledger.books import allowances
from blindrelay.ledger.books.exchange_rows import Lease, Limit
from blindrelay.ledger.books.limits import quotas
from blindrelay.ledger.books.periods import DAY, day_start
from blindrelay.ledger.books.store import Statements
from blindrelay.ledger.books.tokens import VALID, scope_of

LEASE_SECONDS: Final = 300
"""How long a lease is valid. Revocation does not wait for its end."""
KEY_SECONDS: Final = DAY
"""How long a key signs leases. It verifies them for the same time after that."""
KEY_SIZE: Final = 32
"""Bytes of a key for HMAC-SHA-256 (RFC 7518, section 3.2)."""

_KEYS = "SELECT lease_key, drawn_at FROM lease_key ORDER BY number DESC LIMIT 2"

_ADD_KEY = "INSERT INTO lease_key (lease_key, drawn_at) VALUES (:key, :now)"

_DROP_KEYS = """
DELETE FROM lease_key WHERE number NOT IN (SELECT number FROM lease_key ORDER BY number DESC LIMIT 2)
"""

_ACCOUNT = "SELECT * FROM account WHERE id = :account"

_USED = "UPDATE token SET last_used = :day WHERE id = :token AND (last_used IS NULL OR last_used < :day)"

_HELD = """
SELECT id FROM lease WHERE token = :token AND node = :node AND revoked = 0 ORDER BY expires_at DESC LIMIT 1
"""

# Never to an earlier time: the lease is out there, and relays are told of its revocation until it ends.
_RENEW = "UPDATE lease SET expires_at = :expires_at WHERE id = :id AND expires_at < :expires_at"

_ADD = """
INSERT INTO lease (id, account, token, node, expires_at, revoked)
VALUES (:id, :account, :token, :node, :expires_at, 0)
"""

_ALLOW = """
INSERT INTO allowance (account, node, exchanges, units, expires_at)
VALUES (:account, :node, 0, 0, :expires_at)
ON CONFLICT (account, node) DO UPDATE SET
    expires_at = CASE
        WHEN allowance.expires_at > excluded.expires_at THEN allowance.expires_at ELSE excluded.expires_at
    END
"""

_OTHERS = """
SELECT node FROM allowance WHERE account = :account AND node <> :node AND expires_at > :now ORDER BY node
"""

_REVOKED = "SELECT id FROM lease WHERE revoked = 1 AND expires_at > :now ORDER BY id"

_FORGET = "DELETE FROM lease WHERE expires_at <= :before"


def lease_keys(sql: Statements, random: Callable[[int], bytes], now: int) -> tuple[bytes, ...]:
    """The newest two keys, newest first, after drawing a new one if the newest is a day old."""
    rows = sql.all(_KEYS)
    if not rows or rows[0]["drawn_at"] + KEY_SECONDS <= now:
        sql.run(_ADD_KEY, key=random(KEY_SIZE), now=now)
        sql.run(_DROP_KEYS)
        rows = sql.all(_KEYS)
    return tuple(bytes(row["lease_key"]) for row in rows)


def take_lease(
    sql: Statements, digest: bytes, node: bytes, new_id: str, sequence: int, now: int
) -> Lease | Limit:
    """A lease for the token's holder, or why there is none.

    A token has one lease at a node, for all that show the token. It is renewed in place until it is revoked.
    The next one then has the new id.
    """
    token = sql.one(VALID, digest=digest, now=now)
    if token is None:
        return Limit("token_unknown")
    account = sql.one(_ACCOUNT, account=token["account"])
    limit = allowances.refusal(account, quotas(sql, token["account"]), now)
    if limit is not None:
        return limit
    ends = [end for row in (token, account) if row and (end := row["expires_at"]) is not None]
    expires_at = min([now + LEASE_SECONDS, *ends])
    sql.run(_USED, token=token["id"], day=day_start(now))
    lease = _renewed(sql, token["id"], node, expires_at)
    if lease is None:
        lease = new_id
        sql.run(_ADD, id=lease, account=token["account"], token=token["id"], node=node, expires_at=expires_at)
    sql.run(_ALLOW, account=token["account"], node=node, expires_at=expires_at)
    return _lease(sql, token, account, lease, node, sequence, now, expires_at)


def revoked_leases(sql: Statements, now: int) -> tuple[str, ...]:
    """The ids of unexpired leases that are revoked."""
    return tuple(row["id"] for row in sql.all(_REVOKED, now=now))


def forget_leases(sql: Statements, before: int) -> None:
    """Deletes leases that ended before. Lines that name them are rejected from then on."""
    sql.run(_FORGET, before=before)


def _renewed(sql: Statements, token: str, node: bytes, expires_at: int) -> str | None:
    """The id of the token's lease at the node, after renewing it. None if there is none."""
    held = sql.one(_HELD, token=token, node=node)
    if held is None:
        return None
    lease: str = held["id"]
    sql.run(_RENEW, id=lease, expires_at=expires_at)
    return lease


def _lease(
    sql: Statements,
    token: Any,
    account: Any,
    lease: str,
    node: bytes,
    sequence: int,
    now: int,
    expires_at: int,
) -> Lease | Limit:
    allowance = allowances.refresh(sql, account["id"], node, sequence, now)
    if allowance is None:
        return Limit("token_unknown")
    others = tuple(bytes(row["node"]) for row in sql.all(_OTHERS, account=account["id"], node=node, now=now))
    nodes = 1 + len(others)
    return Lease(
        id=lease,
        account=account["pseudonym"],
        node=node,
        issued_at=now,
        expires_at=expires_at,
        concurrent=max(1, account["concurrent"] // nodes),
        rate=account["rate"] and account["rate"] / nodes,
        burst=account["burst"] and max(1, account["burst"] // nodes),
        units=account["max_units"],
        scope=scope_of(token),
        allowance=allowance,
        others=others,
    )
