"""Leases and allowances."""

from __future__ import annotations

import pytest

from blindrelay.ledger.books import Books, Limit, Limits, Period, Quota, Scope
from blindrelay.v1.identity_text import format_identity

from .trading import BY, NOW, Exchange, Node, customer, post, unique

SMALL = Limits(max_units=1000, concurrent=4)


def test_a_lease_says_what_its_holder_may_do(books: Books) -> None:
    books.add_account("ann", Limits(1000, 4, rate=2.5, burst=7), by=BY, now=NOW)
    books.credit("ann", 10_000, "x", by=BY, now=NOW)
    digest = unique(32)
    scope = Scope((format_identity(bytes(32)),), (0,), ("192.0.2.0/24",))
    books.add_token("ann", "", digest, scope=scope, by=BY, now=NOW)
    node = Node(books)
    lease = node.lease(digest)
    assert (lease.account, lease.node) == (books.account("ann").pseudonym, node.name)
    assert (lease.issued_at, lease.expires_at) == (NOW, NOW + 300)
    assert (lease.concurrent, lease.rate, lease.burst, lease.units) == (4, 2.5, 7, 1000)
    assert lease.scope == scope
    assert lease.allowance.exchanges == 14
    assert lease.allowance.sequence == 0


def test_no_lease_without_a_valid_token(books: Books) -> None:
    digest = customer(books)
    node = Node(books)
    assert node.refused(unique(32)) == Limit("token_unknown")
    books.update_account("ann", enabled=False, expires_at=None, by=BY, now=NOW)
    assert node.refused(digest) == Limit("token_unknown")


def test_a_new_account_is_served_as_soon_as_it_has_units(books: Books) -> None:
    digest = customer(books, units=0)
    node = Node(books)
    assert node.refused(digest) == Limit("limit_units")
    books.credit("ann", 1, "first", by=BY, now=NOW)
    assert node.lease(digest).allowance.exchanges == 100


def test_a_lease_ends_with_its_token_and_its_account(books: Books) -> None:
    books.add_account("ann", expires_at=NOW + 100, by=BY, now=NOW)
    books.credit("ann", 1, "x", by=BY, now=NOW)
    long, short = unique(32), unique(32)
    books.add_token("ann", "long", long, by=BY, now=NOW)
    books.add_token("ann", "short", short, expires_at=NOW + 30, by=BY, now=NOW)
    node = Node(books)
    assert node.lease(long).expires_at == NOW + 100
    assert node.lease(short).expires_at == NOW + 30


def test_a_revoked_token_brings_no_lease(books: Books) -> None:
    digest = customer(books)
    books.revoke_token(books.token_of(digest, NOW).id, by=BY, now=NOW)
    assert Node(books).refused(digest) == Limit("token_unknown")


def test_revoking_a_token_revokes_its_leases_until_they_end(books: Books) -> None:
    digest = customer(books)
    node, other = Node(books), unique(32)
    books.add_token("ann", "other", other, by=BY, now=NOW)
    lease = node.lease(digest)
    node.lease(other)
    books.revoke_token(books.token_of(digest, NOW).id, by=BY, now=NOW + 1)
    assert books.revoked_leases(NOW + 1) == (lease.id,)
    assert books.revoked_leases(NOW + 300) == ()


@pytest.mark.parametrize(("enabled", "expires_at"), [(False, None), (True, NOW + 1)])
def test_disabling_an_account_revokes_its_leases_and_allowances(
    books: Books, enabled: bool, expires_at: int | None
) -> None:
    digest = customer(books)
    node = Node(books)
    lease = node.lease(digest)
    books.update_account("ann", enabled=enabled, expires_at=expires_at, by=BY, now=NOW + 1)
    assert books.revoked_leases(NOW + 1) == (lease.id,)
    allowance = node.allowance(NOW + 1)
    assert (allowance.exchanges, allowance.limit) == (0, Limit("token_unknown"))


def test_a_token_has_one_lease_at_a_node(books: Books) -> None:
    """However often it fetches one, and from however many clients: each lease is a row in the books."""
    digest, other = customer(books), unique(32)
    books.add_token("ann", "other", other, by=BY, now=NOW)
    node = Node(books)
    first = node.lease(digest)
    for later in (0, 1, 150, 400, 3_600):
        renewed = node.lease(digest, NOW + later)
        assert renewed.id == first.id
        assert (renewed.issued_at, renewed.expires_at) == (NOW + later, NOW + later + 300)
    assert len({first.id, node.lease(other).id, Node(books).lease(digest).id}) == 3
    with books._store.reading() as sql:
        assert len(sql.all("SELECT id FROM lease")) == 3


def test_a_revoked_lease_is_not_renewed(books: Books) -> None:
    digest = customer(books)
    node = Node(books)
    revoked = node.lease(digest)
    for enabled in (False, True):
        books.update_account("ann", enabled=enabled, expires_at=None, by=BY, now=NOW + 1)
    assert node.lease(digest, NOW + 2).id != revoked.id
    assert books.revoked_leases(NOW + 2) == (revoked.id,)


def test_relays_are_told_of_a_revocation_until_the_last_of_a_lease_has_ended(books: Books) -> None:
    """A client may still show what it got before the account was given an earlier end."""
    digest = customer(books)
    node = Node(books)
    lease = node.lease(digest, NOW + 100)
    books.update_account("ann", enabled=True, expires_at=NOW + 200, by=BY, now=NOW + 100)
    assert node.lease(digest, NOW + 101).expires_at == NOW + 200
    books.update_account("ann", enabled=False, expires_at=NOW + 200, by=BY, now=NOW + 102)
    assert books.revoked_leases(NOW + 399) == (lease.id,)
    assert books.revoked_leases(NOW + 400) == ()


def test_two_keys_are_valid_and_a_new_one_comes_each_day(books: Books) -> None:
    (first,) = books.lease_keys(NOW)
    assert len(first) == 32
    assert books.lease_keys(NOW + 86_399) == (first,)
    second, kept = books.lease_keys(NOW + 86_400)
    assert kept == first
    third, kept = books.lease_keys(NOW + 2 * 86_400)
    assert kept == second
    assert len({first, second, third}) == 3


def test_an_allowance_covers_balance_and_overdraft_and_not_more(books: Books) -> None:
    digest = customer(books, units=2_999, limits=SMALL)
    node = Node(books)
    lease = node.lease(digest)
    assert lease.allowance.exchanges == 6
    taken = node.start(lease, *(Exchange(1000) for _ in range(6)))
    (allowance,) = taken.allowances
    assert (allowance.exchanges, allowance.limit) == (0, Limit("limit_units", 1))
    assert allowance.sequence == 6


def test_an_explicit_overdraft_takes_the_place_of_the_usual_one(books: Books) -> None:
    digest = customer(books, units=2_999, limits=Limits(max_units=1000, concurrent=4, overdraft=0))
    assert Node(books).lease(digest).allowance.exchanges == 2


def test_what_settles_gives_new_allowance(books: Books) -> None:
    digest = customer(books, units=3_000, limits=Limits(max_units=1000, overdraft=0))
    node, first = Node(books), Exchange(1000)
    node.start(node.lease(digest), first, Exchange(1000), Exchange(1000))
    assert node.allowance().exchanges == 0
    posted = books.post([first.receipt(0)], NOW)
    assert posted.accounts == {books.account("ann").pseudonym}
    assert node.allowance().exchanges == 1


def test_a_smaller_exchange_holds_less(books: Books) -> None:
    digest = customer(books, units=3_000, limits=Limits(max_units=1000, overdraft=0))
    node = Node(books)
    taken = node.start(node.lease(digest), Exchange(500), Exchange(500))
    assert taken.allowances[0].exchanges == 2


def test_allowances_end_when_the_balance_is_used_up(books: Books) -> None:
    digest = customer(books, units=500, limits=SMALL)
    node, exchange = Node(books), Exchange(1000)
    node.start(node.lease(digest), exchange)
    post(books, exchange.receipt(500))
    assert node.allowance().limit == Limit("limit_units")
    assert node.refused(digest) == Limit("limit_units")
    books.credit("ann", 1, "more", by=BY, now=NOW)
    assert node.allowance().exchanges == 4


def test_several_nodes_share(books: Books) -> None:
    digest = customer(books, units=8_000, limits=Limits(1000, 8, overdraft=0, rate=4.0, burst=6))
    first, second = Node(books), Node(books)
    assert first.lease(digest).allowance.exchanges == 8
    lease = second.lease(digest)
    assert (lease.allowance.exchanges, lease.others) == (0, (first.name,))
    assert (lease.concurrent, lease.rate, lease.burst) == (4, 2.0, 3)
    assert first.allowance().exchanges == 4
    assert second.allowance().exchanges == 2
    assert first.allowance().exchanges == 3


def test_the_last_exchange_goes_to_one_of_several_nodes(books: Books) -> None:
    digest = customer(books, units=1_000, limits=Limits(1000, 1, overdraft=0))
    first, second = Node(books), Node(books)
    first.lease(digest)
    lease = second.lease(digest)
    assert (lease.concurrent, lease.allowance.exchanges) == (1, 0)
    assert first.allowance().exchanges == 1
    books.release_node(first.name)
    assert second.allowance().exchanges == 1


def test_a_silent_node_gives_its_allowances_back_and_may_return(books: Books) -> None:
    digest = customer(books, units=8_000, limits=Limits(max_units=1000, overdraft=0))
    first, second = Node(books), Node(books)
    first.lease(digest)
    second.lease(digest)
    assert set(books.nodes()) == {first.name, second.name}
    assert books.release_node(first.name) == {books.account("ann").pseudonym}
    assert books.nodes() == (second.name,)
    assert second.allowance().exchanges == 8
    assert books.allowances(first.name, NOW, [books.account("ann").pseudonym]) == ()
    assert first.allowance().exchanges == 0
    assert second.allowance().exchanges == 4


def test_allowances_end_some_time_after_their_leases(books: Books) -> None:
    digest = customer(books, units=1_000, limits=Limits(max_units=1000, overdraft=0))
    node = Node(books)
    node.lease(digest)
    assert books.tidy(NOW + 329) == frozenset()
    assert books.nodes() == (node.name,)
    assert books.tidy(NOW + 330) == {books.account("ann").pseudonym}
    assert books.nodes() == ()
    assert books.allowances(node.name, NOW + 330) == ()


def test_a_renewed_lease_keeps_the_allowance(books: Books) -> None:
    digest = customer(books)
    node = Node(books)
    node.lease(digest)
    node.lease(digest, NOW + 150)
    books.tidy(NOW + 400)
    assert node.allowance(NOW + 400).exchanges > 0


def test_an_allowance_has_an_end(books: Books) -> None:
    digest = customer(books, units=10**12)
    assert Node(books).lease(digest).allowance.exchanges == 1_000


def test_a_quota_of_exchanges_is_exact_over_all_nodes(books: Books) -> None:
    digest = customer(books, limits=Limits(exchanges=Quota(5, Period.DAY)))
    first, second = Node(books), Node(books)
    lease = first.lease(digest)
    assert lease.allowance.exchanges == 5
    assert second.lease(digest).allowance.exchanges == 0
    first.start(lease, *(Exchange() for _ in range(5)))
    assert first.allowance().limit == Limit("limit_exchanges", 86_400)
    assert second.refused(digest, NOW + 400) == Limit("limit_exchanges", 86_000)
    assert second.lease(digest, NOW + 86_400).allowance.exchanges == 5


def test_a_quota_of_units_holds_as_a_balance_does(books: Books) -> None:
    limits = Limits(max_units=1000, overdraft=0, units=Quota(2_000, Period.MONTH))
    digest = customer(books, units=50_000, limits=limits)
    node, one, two = Node(books), Exchange(1000), Exchange(1000)
    lease = node.lease(digest)
    assert lease.allowance.exchanges == 2
    node.start(lease, one, two)
    post(books, one.receipt(1000), two.receipt(900))
    assert node.allowance().limit == Limit("limit_units", 1)
    three = Exchange(100)
    node.start(lease, three)
    post(books, three.receipt(100))
    assert node.allowance().limit == Limit("limit_units", 30 * 86_400)
    assert books.account("ann").uses[0].used == 2_000
    assert node.lease(digest, NOW + 30 * 86_400).allowance.exchanges == 2


def test_a_quota_of_bytes_counts_what_has_ended(books: Books) -> None:
    digest = customer(books, limits=Limits(bytes=Quota(1_000, Period.DAY)))
    node, exchange = Node(books), Exchange()
    node.start(node.lease(digest), exchange)
    assert node.allowance().exchanges > 0
    node.report(exchange.end(sent=400, received=600))
    assert node.allowance().limit == Limit("limit_bytes", 86_400)


def test_a_quota_without_a_period_never_begins_anew(books: Books) -> None:
    digest = customer(books, limits=Limits(exchanges=Quota(1)))
    node = Node(books)
    node.start(node.lease(digest), Exchange())
    assert node.refused(digest, NOW + 400 * 86_400) == Limit("limit_exchanges", 0)


def test_changing_a_quota_keeps_what_it_has_counted(books: Books) -> None:
    digest = customer(books, limits=Limits(exchanges=Quota(9, Period.DAY)))
    node = Node(books)
    node.start(node.lease(digest), Exchange(), Exchange())
    account = books.set_limits("ann", Limits(exchanges=Quota(2, Period.DAY)), by=BY, now=NOW)
    assert account.uses[0].used == 2
    assert node.allowance().limit == Limit("limit_exchanges", 86_400)
    assert books.set_limits("ann", Limits(exchanges=Quota(2)), by=BY, now=NOW).uses[0].used == 0


def test_changing_a_quota_does_not_keep_what_it_counted_in_an_earlier_period(books: Books) -> None:
    """A command may come before anything else has noticed that the day is over."""
    quota = Limits(exchanges=Quota(2, Period.DAY))
    node = Node(books)
    node.start(node.lease(customer(books, limits=quota)), Exchange(), Exchange())
    assert books.set_limits("ann", quota, by=BY, now=NOW + 86_400).uses[0].used == 0


def test_lowering_the_overdraft_lowers_the_bound_as_exchanges_settle(books: Books) -> None:
    digest = customer(books, units=1_000, limits=Limits(max_units=1000, overdraft=3_000))
    node = Node(books)
    exchanges = [Exchange(1000) for _ in range(4)]
    node.start(node.lease(digest), *exchanges)
    account = books.set_limits("ann", Limits(max_units=1000, overdraft=0), by=BY, now=NOW)
    assert account.overdraft_bound == 3_000
    assert node.allowance().exchanges == 0
    post(books, *(exchange.receipt(600) for exchange in exchanges))
    books.tidy(NOW)
    account = books.account("ann")
    assert (account.balance, account.overdraft_bound) == (-1_400, 1_400)
    books.credit("ann", 2_000, "more", by=BY, now=NOW)
    books.tidy(NOW)
    assert books.account("ann").overdraft_bound == 0


def test_raising_max_units_allows_fewer_exchanges(books: Books) -> None:
    digest = customer(books, units=10_000, limits=Limits(max_units=1000, overdraft=0))
    node = Node(books)
    node.lease(digest)
    books.set_limits("ann", Limits(max_units=5000, overdraft=0), by=BY, now=NOW)
    lease = node.lease(digest)
    assert (lease.units, lease.allowance.exchanges) == (5_000, 2)
