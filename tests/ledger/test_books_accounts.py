"""Accounts, limits and tokens in the books."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blindrelay.ledger.books import (
    Books,
    InvalidError,
    Limits,
    Period,
    Quota,
    Scope,
    TakenError,
    UnknownError,
)
from blindrelay.v1.identity_text import format_identity

from .trading import BRIDGE, BY, NOW, Node, customer, unique

IDENTITY = format_identity(bytes(32))


def test_a_new_account_is_enabled_and_has_no_units(books: Books) -> None:
    account = books.add_account("ann", by=BY, now=NOW)
    assert (account.name, account.enabled, account.balance, account.charged) == ("ann", True, 0, 0)
    assert account.overdraft_bound == 100 * 1_000_000
    assert books.account("ann") == account


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 65, "a\n", "a'; DROP TABLE account; --"])
def test_a_name_is_checked(books: Books, name: str) -> None:
    with pytest.raises(InvalidError):
        books.add_account(name, by=BY, now=NOW)
    assert books.accounts() == ()


def test_a_name_is_used_once(books: Books) -> None:
    books.add_account("ann", by=BY, now=NOW)
    with pytest.raises(TakenError, match='named "ann" exists'):
        books.add_account("ann", by=BY, now=NOW)


def test_accounts_come_in_pages_and_by_what_they_contain(books: Books) -> None:
    for name in ("bob", "ann", "a_n", "cid"):
        books.add_account(name, by=BY, now=NOW)
    assert [each.name for each in books.accounts(limit=2)] == ["a_n", "ann"]
    assert [each.name for each in books.accounts(after="ann")] == ["bob", "cid"]
    assert [each.name for each in books.accounts(contains="A_N")] == ["a_n"]
    assert books.accounts(contains="%") == ()


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_units=3),
        Limits(max_units=2 * 10**12),
        Limits(max_units=0),
        Limits(concurrent=0),
        Limits(concurrent=100_001),
        Limits(overdraft=-1),
        Limits(overdraft=10**15 + 1),
        Limits(rate=0),
        Limits(rate=float("inf")),
        Limits(rate=float("nan")),
        Limits(burst=0),
        Limits(units=Quota(-1)),
        Limits(bytes=Quota(10**16, Period.DAY)),
    ],
)
def test_a_limit_out_of_range_changes_nothing(books: Books, limits: Limits) -> None:
    customer(books)
    with pytest.raises(InvalidError):
        books.set_limits("ann", limits, by=BY, now=NOW)
    assert books.account("ann").limits == Limits()


def test_limits_are_replaced_as_a_whole(books: Books) -> None:
    customer(books)
    limits = Limits(1000, 5, 7, 2.5, 3, Quota(10), Quota(20, Period.DAY), Quota(30, Period.MONTH))
    account = books.set_limits("ann", limits, by=BY, now=NOW)
    assert (account.limits, account.overdraft_bound) == (limits, 7)
    assert [(use.quota, use.used, use.resets_at) for use in account.uses] == [
        ("bytes", 0, NOW + 30 * 86_400),
        ("exchanges", 0, NOW + 86_400),
        ("units", 0, None),
    ]
    assert books.set_limits("ann", Limits(), by=BY, now=NOW).uses == ()


def test_a_token_is_found_by_its_digest_while_it_is_valid(books: Books) -> None:
    books.add_account("ann", expires_at=NOW + 100, by=BY, now=NOW)
    digest = unique(32)
    token = books.add_token("ann", "laptop", digest, expires_at=NOW + 50, by=BY, now=NOW)
    assert books.token_of(digest, NOW + 49) == token
    for moment in (NOW + 50, NOW + 100):
        with pytest.raises(UnknownError):
            books.token_of(digest, moment)
    with pytest.raises(UnknownError):
        books.token_of(unique(32), NOW)


def test_a_disabled_or_expired_account_has_no_valid_token(books: Books) -> None:
    digest = customer(books)
    books.update_account("ann", enabled=False, expires_at=None, by=BY, now=NOW)
    with pytest.raises(UnknownError):
        books.token_of(digest, NOW)
    books.update_account("ann", enabled=True, expires_at=NOW + 9, by=BY, now=NOW)
    assert books.token_of(digest, NOW + 8).account == "ann"
    with pytest.raises(UnknownError):
        books.token_of(digest, NOW + 9)


def test_names_and_digests_of_tokens_are_used_once(books: Books) -> None:
    digest = customer(books)
    customer(books, "bob")
    first = books.add_token("ann", "laptop", unique(32), by=BY, now=NOW)
    with pytest.raises(TakenError):
        books.add_token("ann", "laptop", unique(32), by=BY, now=NOW)
    with pytest.raises(TakenError):
        books.add_token("bob", "stolen", digest, by=BY, now=NOW)
    books.revoke_token(first.id, by=BY, now=NOW)
    assert books.add_token("ann", "laptop", unique(32), by=BY, now=NOW).id != first.id
    assert len(books.tokens("ann")) == 3


def test_an_unnamed_token_is_named_by_its_id(books: Books) -> None:
    customer(books)
    (token,) = books.tokens("ann")
    assert token.name == token.id


def test_rotating_keeps_name_scope_and_expiry(books: Books) -> None:
    customer(books)
    scope = Scope((IDENTITY,), (0, 3), ("192.0.2.0/24", "2001:db8::/32"))
    old = books.add_token("ann", "laptop", unique(32), expires_at=NOW + 9, scope=scope, by=BY, now=NOW)
    digest = unique(32)
    new = books.rotate_token(old.id, digest, by=BY, now=NOW + 1)
    assert new == replace(old, id=new.id, created_at=NOW + 1)
    assert books.token_of(digest, NOW + 2) == new
    assert next(each for each in books.tokens("ann") if each.id == old.id).revoked_at == NOW + 1
    with pytest.raises(InvalidError, match="is revoked"):
        books.rotate_token(old.id, unique(32), by=BY, now=NOW + 2)


def test_revoking_twice_keeps_the_first_time(books: Books) -> None:
    customer(books)
    (token,) = books.tokens("ann")
    assert books.revoke_token(token.id, by=BY, now=NOW + 1).revoked_at == NOW + 1
    assert books.revoke_token(token.id, by=BY, now=NOW + 2).revoked_at == NOW + 1
    assert [entry.action for entry in books.audit()].count("token revoke") == 1


@pytest.mark.parametrize(
    "scope",
    [
        Scope(bridges=("br1nonsense",)),
        Scope(classes=(-1,)),
        Scope(addresses=("192.0.2.1/24",)),
        Scope(addresses=("anywhere",)),
        Scope(classes=tuple(range(17))),
    ],
)
def test_a_scope_is_checked(books: Books, scope: Scope) -> None:
    customer(books)
    with pytest.raises(InvalidError):
        books.add_token("ann", "x", unique(32), scope=scope, by=BY, now=NOW)
    assert len(books.tokens("ann")) == 1


def test_a_digest_has_the_size_of_a_hash(books: Books) -> None:
    customer(books)
    with pytest.raises(InvalidError, match="32 bytes"):
        books.add_token("ann", "x", BRIDGE[:31], by=BY, now=NOW)


def test_the_day_of_the_last_lease_is_kept_and_no_finer_time(books: Books) -> None:
    digest = customer(books)
    assert books.tokens("ann")[0].last_used is None
    Node(books).lease(digest, NOW + 86_400 + 4321)
    assert books.tokens("ann")[0].last_used == NOW + 86_400


@pytest.mark.parametrize(
    "missing",
    [
        lambda books: books.account("bob"),
        lambda books: books.tokens("bob"),
        lambda books: books.add_token("bob", "x", unique(32), by=BY, now=NOW),
        lambda books: books.update_account("bob", enabled=True, expires_at=None, by=BY, now=NOW),
        lambda books: books.set_limits("bob", Limits(), by=BY, now=NOW),
        lambda books: books.credit("bob", 1, "x", by=BY, now=NOW),
        lambda books: books.redeem_voucher("bob", unique(32), by=BY, now=NOW),
        lambda books: books.revoke_token("bob", by=BY, now=NOW),
        lambda books: books.rotate_token("bob", unique(32), by=BY, now=NOW),
        lambda books: books.revoke_voucher("bob", by=BY, now=NOW),
        lambda books: books.statement("bob", "", NOW),
        lambda books: books.lines("bob", "", NOW),
    ],
)
def test_what_does_not_exist_is_named(books: Books, missing: object) -> None:
    customer(books)
    with pytest.raises(UnknownError, match="bob"):
        missing(books)  # type: ignore[operator]


def test_every_change_is_in_the_audit_log(books: Books) -> None:
    customer(books)
    books.set_limits("ann", Limits(concurrent=3), by="page", now=NOW + 1)
    books.update_account("ann", enabled=False, expires_at=None, by="cli", now=NOW + 2)
    newest, limits, *older = books.audit()
    assert (newest.actor, newest.action, newest.subject, newest.at) == (
        "cli",
        "account update",
        "ann",
        NOW + 2,
    )
    assert '"enabled":true' in newest.before
    assert '"enabled":false' in newest.after
    assert '"concurrent":100' in limits.before
    assert '"concurrent":3' in limits.after
    assert [entry.action for entry in older] == ["token issue", "credit", "account add"]
    assert books.audit(before=limits.number, limit=1) == (older[0],)
