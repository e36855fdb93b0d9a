"""The complaints about relays' bills that the ledger answers, by name. docs/complaints.md has all of them.

Each name says what went wrong elsewhere; each test shows that it cannot here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pytest

from blindrelay.ledger.books import Books, Lease, Limits, Outcome, State, UnknownError
from blindrelay.ledger.books.settlement import Settling

from .trading import BY, NOW, Exchange, Node, balance, customer, post, sound, unique, watermark

MANY = 50


def test_client_gone_and_nothing_was_charged(books: Books) -> None:
    """new-api #5235, #7062: a started exchange is held for until its receipt comes."""
    digest = customer(books, units=1_000)
    node, exchange = Node(books), Exchange()
    node.start(node.lease(digest), exchange)
    node.report(exchange.end("cancelled", received=0))
    assert books.account("ann").outstanding == 1
    assert post(books, exchange.receipt(80)) == (Outcome.POSTED,)
    assert balance(books) == 920


def test_a_stream_that_ended_early_was_charged_twice(books: Books) -> None:
    """new-api #7486: one exchange has one charge; an SDK's retry is another line."""
    digest = customer(books, units=1_000)
    node, first, retry = Node(books), Exchange(), Exchange()
    node.start(node.lease(digest), first, retry)
    assert post(books, first.receipt(10), first.receipt(10), first.receipt(12), retry.receipt(10)) == (
        Outcome.POSTED,
        Outcome.REPEATED,
        Outcome.CONTRADICTION,
        Outcome.POSTED,
    )
    assert balance(books) == 980
    assert [(line.state, line.units) for line in books.lines("ann", "", NOW)] == [(State.POSTED, 10)] * 2


def test_no_output_and_the_full_prompt_was_charged(books: Books) -> None:
    """new-api #4168: without a receipt there is no charge, and a watermark says that none will come."""
    digest = customer(books, units=1_000)
    node, exchange = Node(books), Exchange()
    node.start(node.lease(digest), exchange)
    node.report(exchange.end("deadline", received=0))
    books.close_exchanges(watermark(NOW + 10), NOW)
    assert (balance(books), books.lines("ann", "", NOW)[0].state) == (1_000, State.VOIDED)


def test_an_error_was_charged_beyond_what_was_allowed(books: Books) -> None:
    """new-api #5287: no receipt takes more than the client allowed in its envelope."""
    digest = customer(books, units=1_000)
    node, exchange = Node(books), Exchange(max_units=100)
    node.start(node.lease(digest), exchange)
    assert post(books, exchange.receipt(101)) == (Outcome.EXCESS,)
    assert balance(books) == 1_000


@pytest.mark.parametrize("units", [1, 1_000, 50_000])
def test_many_at_once_pass_a_check_that_is_not_a_deduction(books: Books, units: int) -> None:
    """new-api #5690, #6607, LiteLLM #34732: starting sets units aside, for rich accounts as for poor ones."""
    digest = customer(books, units=units, limits=Limits(max_units=1_000, concurrent=5))
    allowed = (units + 5_000) // 1_000

    def trade(number: int) -> None:
        node = Node(books, bytes([number]) * 16)
        found = books.lease(digest, node.name, NOW)
        exchanges = [Exchange(1_000, exchange_id=bytes([number, each]) * 8) for each in range(20)]
        if isinstance(found, Lease):
            node.start(found, *exchanges[: found.allowance.exchanges])
        post(books, *(exchange.receipt(1_000) for exchange in exchanges))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(trade, range(MANY)))
    assert balance(books) >= -books.account("ann").overdraft_bound
    posted = sum(line.state is State.POSTED for line in books.lines("ann", "", NOW, limit=10_000))
    assert posted <= allowed
    sound(books)


def test_a_thousand_at_the_last_unit_stay_within_the_bound(books: Books) -> None:
    """LiteLLM #40095, #26672: as many run as the overdraft covers, each costs the most that it may."""
    digest = customer(books, units=1)
    nodes = [Node(books) for _ in range(4)]
    leases = [(node, node.lease(digest)) for node in nodes]

    def trade(number: int) -> int:
        """Starts one exchange, if its node may."""
        node, lease = leases[number % len(leases)]
        exchange = Exchange(exchange_id=b"%16d" % number)
        with starting:
            if not node.allowance().exchanges:
                return 0
            node.start(lease, exchange)
        return post(books, exchange.receipt(1_000_000)).count(Outcome.POSTED)

    starting = Lock()
    with ThreadPoolExecutor(8) as threads:
        charged = sum(threads.map(trade, range(1_000)))
    assert 1 <= charged <= 100
    assert balance(books) == 1 - charged * 1_000_000 >= -books.account("ann").overdraft_bound


def test_reservations_that_nobody_releases_look_like_spent_units(books: Books) -> None:
    """LiteLLM #27639: a reservation is a row with an expiry. Whatever is lost, its units come back."""
    digest = customer(books, units=2_000, limits=Limits(max_units=1_000, overdraft=0))
    node = Node(books)
    node.start(node.lease(digest), Exchange(1_000), Exchange(1_000))
    assert node.allowance().exchanges == 0
    books.tidy(NOW + 720)
    assert node.lease(digest, NOW + 720).allowance.exchanges == 2


def test_a_second_copy_of_the_money_drifts(place: Path | str) -> None:
    """LiteLLM #28247, #30460: processes share one balance, and restarts add nothing to it."""
    with Books(place) as first, Books(place) as second:
        digest = customer(first, units=1_000)
        node, exchange = Node(second), Exchange()
        node.start(node.lease(digest), exchange)
        post(first, exchange.receipt(100))
        assert balance(first) == balance(second) == 900
    for _ in range(3):
        with Books(place) as again:
            assert balance(again) == 900
            assert post(again, exchange.receipt(100)) == (Outcome.REPEATED,)
            sound(again)


def test_worst_cases_fill_a_budget_that_nobody_has_spent(books: Books) -> None:
    """LiteLLM #38647: a few units are enough for as many exchanges as may run at once."""
    digest = customer(books, units=10, limits=Limits(concurrent=8))
    allowance = Node(books).lease(digest).allowance
    assert (allowance.exchanges, books.account("ann").overdraft_bound) == (8, 8_000_000)


def test_deadlocks_drop_what_was_spent(place: Path | str) -> None:
    """LiteLLM #34887, #18708: writers wait for each other, and none gives up what it has to enter."""
    with Books(place) as books:
        digest = customer(books, units=10**9)
        node, exchanges = Node(books), [Exchange() for _ in range(MANY)]
        node.start(node.lease(digest), *exchanges)

    def settle(forwards: bool) -> list[Outcome]:
        found: list[Outcome] = []
        with Books(place) as own:
            for exchange in exchanges if forwards else reversed(exchanges):
                found += post(own, exchange.receipt(7))
        return found

    with ThreadPoolExecutor(4) as threads:
        outcomes = [each for found in threads.map(settle, (True, False, True, False)) for each in found]
    assert outcomes.count(Outcome.POSTED) == MANY
    assert outcomes.count(Outcome.REPEATED) == 3 * MANY
    with Books(place) as books:
        assert balance(books) == 10**9 - MANY * 7


def test_a_dead_node_keeps_its_part_of_a_limit(books: Books) -> None:
    """Bifrost #3547, apisix #12823: a limit is shared by nodes, and a node that died gives its part back."""
    digest = customer(books, units=4_000, limits=Limits(1_000, 4, overdraft=0, rate=8.0))
    dead, alive = Node(books), Node(books)
    dead.lease(digest)
    both = alive.lease(digest)
    assert (both.concurrent, both.rate) == (2, 4.0)
    books.release_node(dead.name)
    alone = alive.lease(digest)
    assert (alone.concurrent, alone.rate, alone.allowance.exchanges) == (4, 8.0, 4)


def test_a_voucher_was_redeemed_several_times_under_load(books: Books) -> None:
    """Veloera #88, new-api #1616: redeeming is one conditional update."""
    for name in ("ann", "bob"):
        customer(books, name, units=0)
    code = unique(32)
    books.add_vouchers([code], 500, by=BY, now=NOW)

    def redeem(number: int) -> bool:
        try:
            books.redeem_voucher(("ann", "bob")[number % 2], code, by=BY, now=NOW)
        except UnknownError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(redeem, range(MANY))) == 1
    assert balance(books) + balance(books, "bob") == 500


def test_a_crash_between_two_steps_loses_money(place: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    """new-api's BillingSession: receipt, charge and entry are in the books together or not at all."""
    with Books(place) as books:
        digest = customer(books, units=1_000)
        node, exchange = Node(books), Exchange()
        node.start(node.lease(digest), exchange)
        with monkeypatch.context() as patch:
            patch.setattr(Settling, "finish", _killed)
            with pytest.raises(KeyboardInterrupt):
                post(books, exchange.receipt(100))
        assert balance(books) == 1_000
        assert post(books, exchange.receipt(100)) == (Outcome.POSTED,)
        sound(books)


def _killed(settling: Settling) -> None:
    raise KeyboardInterrupt
