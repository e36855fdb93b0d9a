"""Credits and vouchers."""

from __future__ import annotations

import pytest

from blindrelay.ledger.books import Books, InvalidError, TakenError, UnknownError

from .trading import BY, NOW, Exchange, Node, balance, customer, post, unique


def test_a_credit_is_added_once_for_each_reference(books: Books) -> None:
    customer(books, units=0)
    first = books.credit("ann", 500, "order 1", by=BY, now=NOW)
    again = books.credit("ann", 500, "order 1", by=BY, now=NOW + 9)
    assert (first.repeated, again.repeated, again.at) == (False, True, NOW)
    assert balance(books) == 500
    with pytest.raises(TakenError, match="order 1"):
        books.credit("ann", 501, "order 1", by=BY, now=NOW)
    books.credit("ann", 500, "order 2", by=BY, now=NOW)
    assert balance(books) == 1000


def test_the_same_reference_may_be_used_for_another_account(books: Books) -> None:
    for name in ("ann", "bob"):
        customer(books, name, units=0)
        books.credit(name, 5, "gift", by=BY, now=NOW)
    assert (balance(books), balance(books, "bob")) == (5, 5)


@pytest.mark.parametrize(
    ("units", "reference"),
    [(0, "x"), (10**15 + 1, "x"), (1, ""), (1, "x" * 201), (1, "a\nb"), (1, "voucher x")],
)
def test_a_credit_is_checked(books: Books, units: int, reference: str) -> None:
    customer(books, units=0)
    with pytest.raises(InvalidError):
        books.credit("ann", units, reference, by=BY, now=NOW)
    assert balance(books) == 0


def test_units_that_are_held_cannot_be_taken_back(books: Books) -> None:
    digest = customer(books, units=1_000_000)
    Node(books).lease(digest)
    # 101 exchanges may start: 1,000,000 from the balance and 100,000,000 from the overdraft are held.
    with pytest.raises(InvalidError, match="set aside"):
        books.credit("ann", -1, "refund", by=BY, now=NOW)
    assert balance(books) == 1_000_000
    assert len(books.statement("ann", "", NOW).credits) == 1


def test_units_that_are_free_can_be_taken_back(books: Books) -> None:
    customer(books, units=1000)
    assert books.credit("ann", -400, "refund", by=BY, now=NOW).units == -400
    assert (balance(books), books.account("ann").charged) == (600, 0)


def test_a_balance_has_an_end(books: Books) -> None:
    customer(books, units=0)
    for number in range(1000):
        books.credit("ann", 10**15, str(number), by=BY, now=NOW)
    with pytest.raises(InvalidError):
        books.credit("ann", 10**15, "one more", by=BY, now=NOW)
    assert balance(books) == 10**18


def test_a_voucher_is_redeemed_once(books: Books) -> None:
    for name in ("ann", "bob"):
        customer(books, name, units=0)
    code = unique(32)
    (voucher,) = books.add_vouchers([code], 700, reference="spring", by=BY, now=NOW)
    redeemed = books.redeem_voucher("ann", code, by=BY, now=NOW + 5)
    assert (redeemed.id, redeemed.account, redeemed.redeemed_at) == (voucher.id, "ann", NOW + 5)
    for name in ("ann", "bob"):
        with pytest.raises(UnknownError):
            books.redeem_voucher(name, code, by=BY, now=NOW + 6)
    assert (balance(books), balance(books, "bob")) == (700, 0)
    with pytest.raises(InvalidError, match="is redeemed"):
        books.revoke_voucher(voucher.id, by=BY, now=NOW + 7)
    assert books.statement("ann", "", NOW).credits[0].reference == f"voucher {voucher.id}"


def test_a_revoked_or_expired_voucher_is_worth_nothing(books: Books) -> None:
    customer(books, units=0)
    revoked, expired = unique(32), unique(32)
    (voucher,) = books.add_vouchers([revoked], 700, by=BY, now=NOW)
    books.add_vouchers([expired], 700, expires_at=NOW + 10, by=BY, now=NOW)
    assert books.revoke_voucher(voucher.id, by=BY, now=NOW + 1).revoked_at == NOW + 1
    assert books.revoke_voucher(voucher.id, by=BY, now=NOW + 2).revoked_at == NOW + 1
    for code, moment in ((revoked, NOW + 2), (expired, NOW + 10)):
        with pytest.raises(UnknownError):
            books.redeem_voucher("ann", code, by=BY, now=moment)
    assert balance(books) == 0


def test_vouchers_come_in_pages_newest_first(books: Books) -> None:
    made = books.add_vouchers([unique(32) for _ in range(5)], 1, by=BY, now=NOW)
    newest_first = tuple(reversed(made))
    assert books.vouchers(limit=2) == newest_first[:2]
    assert books.vouchers(after=newest_first[1].id) == newest_first[2:]


def test_vouchers_are_made_together_or_not_at_all(books: Books) -> None:
    code = unique(32)
    with pytest.raises(TakenError):
        books.add_vouchers([unique(32), code, code], 5, by=BY, now=NOW)
    with pytest.raises(InvalidError):
        books.add_vouchers([unique(32), b"short"], 5, by=BY, now=NOW)
    with pytest.raises(InvalidError):
        books.add_vouchers([], 5, by=BY, now=NOW)
    with pytest.raises(InvalidError):
        books.add_vouchers([code], 0, by=BY, now=NOW)
    assert books.vouchers() == ()


def test_charges_and_credits_make_the_balance(books: Books) -> None:
    digest = customer(books, units=900)
    node, exchange = Node(books), Exchange()
    node.start(node.lease(digest), exchange)
    post(books, exchange.receipt(250))
    books.credit("ann", 50, "more", by=BY, now=NOW)
    account = books.account("ann")
    assert (account.balance, account.charged) == (700, 250)
