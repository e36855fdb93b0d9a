"""How many exchanges an account may start at a node.

An allowance is units set aside: max_units for each exchange that may start. A start takes its part of them
along, and whatever ends the exchange gives that back. So for each account

    balance + bound >= held = units of its allowances + holds of its reserved exchanges

holds at all times, and no receipt that is held for can take the balance below -bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from blindrelay.ledger.books.exchange_rows import Allowance, Limit
from blindrelay.ledger.books.limits import resets_at
from blindrelay.ledger.books.presence import released_in
from blindrelay.ledger.books.set_statement import SetStatement
from blindrelay.ledger.books.store import Statements

MAX_EXCHANGES: Final = 1_000
"""The most in one allowance. A relay gets a new one with each batch of lines, some twenty times a second."""
HELD_RETRY_SECONDS: Final = 1
"""When everything is held for exchanges that run: one of them may be settled soon."""

STATUSES: Final = {"units": "limit_units", "exchanges": "limit_exchanges", "bytes": "limit_bytes"}
"""The outer status of each kind of quota."""

_AT_NODE = SetStatement(
    "account INTEGER",
    """
    SELECT account.*, own.exchanges AS own_exchanges, own.units AS own_units,
        quota.kind, quota.amount, quota.period, quota.used, quota.since,
        (
            SELECT COUNT(*) FROM allowance AS other
            WHERE other.account = account.id AND other.node <> :node AND other.expires_at > :now
        ) AS other_nodes,
        (
            SELECT CAST(COALESCE(SUM(exchanges), 0) AS BIGINT) FROM allowance AS other
            WHERE other.account = account.id AND other.node <> :node AND other.expires_at > :now
        ) AS other_exchanges
    FROM given
        JOIN account ON account.id = given.account
        JOIN allowance AS own ON own.account = account.id
        LEFT JOIN quota ON quota.account = account.id
    WHERE own.node = :node AND own.expires_at > :now
    ORDER BY account.id, quota.kind
    """,
)

_SET = SetStatement(
    "account INTEGER, exchanges INTEGER, units INTEGER",
    """
    UPDATE allowance SET exchanges = given.exchanges, units = given.units FROM given
    WHERE allowance.account = given.account AND node = :node
    """,
)

_HOLD = SetStatement(
    "account INTEGER, units INTEGER",
    "UPDATE account SET held = held + given.units FROM given WHERE id = given.account",
)

_WITH_ALLOWANCE = """
SELECT account.id FROM allowance JOIN account ON account.id = allowance.account
WHERE node = :node AND (CAST(:pseudonym AS TEXT) IS NULL OR pseudonym = :pseudonym)
ORDER BY account.id
"""

_NODES = "SELECT DISTINCT node FROM allowance"

_DROP_NODE = "DELETE FROM allowance WHERE node = :node RETURNING account, units"

_DROP_ENDED = "DELETE FROM allowance WHERE expires_at <= :before RETURNING account, units"

_REVIVE = """
INSERT INTO allowance (account, node, exchanges, units, expires_at)
SELECT account, node, 0, 0, MAX(expires_at) FROM lease
WHERE node = :node AND expires_at > :now AND revoked = 0
GROUP BY account, node
ON CONFLICT (account, node) DO NOTHING
"""

_MISSING = "SELECT :units - balance - bound + held AS units FROM account WHERE id = :account"

_RECLAIMABLE = "SELECT node, units FROM allowance WHERE account = :account AND units > 0 ORDER BY node"

_TAKE_BACK = "UPDATE allowance SET units = units - :units WHERE account = :account AND node = :node"

_PSEUDONYMS = SetStatement(
    "account INTEGER", "SELECT pseudonym FROM given JOIN account ON account.id = given.account"
)


def refusal(account: Any, quota_rows: Iterable[Any], now: int) -> Limit | None:
    """Why the account may start nothing at all, however little it holds."""
    if not account["enabled"] or (account["expires_at"] is not None and account["expires_at"] <= now):
        return Limit("token_unknown")
    if account["balance"] <= 0:
        return Limit("limit_units")
    for quota in quota_rows:
        if quota["used"] >= quota["amount"]:
            until = resets_at(quota)
            return Limit(STATUSES[quota["kind"]], 0 if until is None else max(1, until - now))
    return None


def fitting(account: Any, quota_rows: Iterable[Any]) -> int:
    """How many exchanges the node may start: all that fit, and half of them beside other nodes."""
    left = {quota["kind"]: quota["amount"] - quota["used"] for quota in quota_rows}
    spendable = min(account["balance"], left.get("units", account["balance"]))
    free: int = spendable + account["overdraft"] - (account["held"] - account["own_units"])
    exchanges: int = max(0, free) // account["max_units"]
    if account["other_nodes"] and exchanges > 1:
        exchanges //= 2
    if "exchanges" in left:
        exchanges = min(exchanges, left["exchanges"] - account["other_exchanges"])
    return max(0, min(exchanges, MAX_EXCHANGES))


def refresh(sql: Statements, account: int, node: bytes, sequence: int, now: int) -> Allowance | None:
    """Computes a node's allowance again. None if the account has no lease there."""
    found = refresh_each(sql, [account], node, sequence, now)
    return found[0] if found else None


def refresh_each(
    sql: Statements, accounts: Sequence[int], node: bytes, sequence: int, now: int
) -> tuple[Allowance, ...]:
    """Computes a node's allowances again, without those of accounts that have no lease there."""
    rows = sql.for_all(_AT_NODE, [(account,) for account in accounts], node=node, now=now)
    refreshed, changes = [], []
    for _, own_rows in groupby(rows, itemgetter("id")):
        row, *more = own_rows
        quota_rows = [row, *more] if row["kind"] else []
        limit = refusal(row, quota_rows, now)
        exchanges = 0 if limit else fitting(row, quota_rows)
        if (exchanges, exchanges * row["max_units"]) != (row["own_exchanges"], row["own_units"]):
            changes.append((row, exchanges))
        if not exchanges and limit is None:
            limit = Limit("limit_units", released_in(sql, row["id"], node, now) or HELD_RETRY_SECONDS)
        refreshed.append(Allowance(row["pseudonym"], sequence, exchanges, limit))
    _change(sql, node, changes)
    return tuple(refreshed)


def _change(sql: Statements, node: bytes, changes: Sequence[tuple[Any, int]]) -> None:
    """Sets allowances, and holds for each account what they need more or less than before."""
    parts = [(row["id"], exchanges, exchanges * row["max_units"]) for row, exchanges in changes]
    sql.for_all(_SET, parts, node=node)
    hold(sql, {row["id"]: exchanges * row["max_units"] - row["own_units"] for row, exchanges in changes})


def accounts_at(sql: Statements, node: bytes, pseudonyms: Iterable[str] | None) -> list[int]:
    """The accounts that have allowances at a node, or those of them that are named."""
    wanted = (None,) if pseudonyms is None else sorted(pseudonyms)
    return [row["id"] for each in wanted for row in sql.all(_WITH_ALLOWANCE, node=node, pseudonym=each)]


def nodes(sql: Statements) -> tuple[bytes, ...]:
    """The nodes that hold allowances."""
    return tuple(bytes(row["node"]) for row in sql.all(_NODES))


def revive(sql: Statements, node: bytes, now: int) -> None:
    """Gives a node an empty allowance for each lease that is still valid there."""
    sql.run(_REVIVE, node=node, now=now)


def release_node(sql: Statements, node: bytes) -> set[int]:
    """Takes back a node's allowances. Returns their accounts."""
    return give_back(sql, ((row["account"], row["units"]) for row in sql.all(_DROP_NODE, node=node)))


def release_ended(sql: Statements, before: int) -> set[int]:
    """Takes back the allowances whose leases ended before. Returns their accounts."""
    return give_back(sql, ((row["account"], row["units"]) for row in sql.all(_DROP_ENDED, before=before)))


def give_back(sql: Statements, units_of: Iterable[tuple[int, int]]) -> set[int]:
    """Holds less for each account. Returns the accounts."""
    sums: Counter[int] = Counter()
    for account, units in units_of:
        sums[account] -= units
    hold(sql, sums)
    return set(sums)


def make_room(sql: Statements, account: int, units: int) -> bool:
    """Takes from allowances what the account lacks to pay these units. Returns False if they are too small.

    An exchange that starts nevertheless is not held for, and its receipt needs room in turn.
    """
    found = sql.one(_MISSING, account=account, units=units)
    rows = sql.all(_RECLAIMABLE, account=account)
    if found is None or sum(row["units"] for row in rows) < (missing := found["units"]):
        return False
    for row in rows:
        part = min(missing, row["units"])
        sql.run(_TAKE_BACK, account=account, node=row["node"], units=part)
        missing -= part
    hold(sql, {account: -found["units"]})
    return True


def hold(sql: Statements, units_of: Mapping[int, int]) -> None:
    """Holds more units for each account, or less. The schema refuses what breaks the bound."""
    sql.for_all(_HOLD, sorted(units_of.items()))


def pseudonyms(sql: Statements, accounts: Iterable[int]) -> frozenset[str]:
    """As leases name the accounts."""
    rows = sql.for_all(_PSEUDONYMS, [(account,) for account in accounts])
    return frozenset(row["pseudonym"] for row in rows)
