"""Peers share claims, exchanges and bytes evenly; a refusal tells a peer nothing about the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import SMALL_REQUEST, RequestBudget
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED


def take_all(quota: Quota, peer: bytes) -> int:
    """How much a peer gets, one by one."""
    count = 0
    while quota.take(peer):
        count += 1
    return count


def test_greedy_peers_leave_each_other_their_shares() -> None:
    for peers in (1, 2, 3, 7, 1_000):
        quota = Quota(1_000, partial(int, peers))
        assert {take_all(quota, b"%d" % number) for number in range(peers)} == {1_000 // peers}


def test_least_share_is_kept_however_many_peers_there_are() -> None:
    quota = Quota(100, lambda: 50, least=40)
    takes = [(b"one", 40, True), (b"one", 1, False), (b"other", 40, True), (b"third", 40, False)]
    assert [quota.take(peer, amount) for peer, amount, _ in takes] == [taken for *_, taken in takes]
    assert quota.take(b"third", 20), "there is no more than the capacity"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.booleans(), st.integers(1, 4))))
def test_room_depends_on_what_the_peer_holds_alone(history: list[tuple[int, int, bool, int]]) -> None:
    peers = 1
    quota = Quota(100, lambda: peers, least=10)
    held = dict.fromkeys(range(4), 0)
    for peer, amount, more, count in history:
        peers = count
        if more:
            fits = held[peer] + amount <= quota.share and sum(held.values()) + amount <= quota.capacity
            assert quota.take(bytes([peer]), amount) is fits
            held[peer] += amount if fits else 0
        elif amount := min(amount, held[peer]):
            quota.give_back(bytes([peer]), amount)
            held[peer] -= amount
        assert quota.held == sum(held.values()) <= quota.capacity


@pytest.fixture
def budget() -> Iterator[RequestBudget]:
    """Of 200 bytes, for two peers."""
    budget = RequestBudget(Quota(200, lambda: 2))
    yield budget
    assert budget.held == 0


def test_requests_of_a_peer_are_bounded_together(budget: RequestBudget) -> None:
    with budget.share(b"peer") as one, budget.share(b"peer") as other, budget.share(b"modest") as modest:
        one.add(SMALL_REQUEST + 60)
        other.add(SMALL_REQUEST)
        other.add(40)
        with pytest.raises(RequestError) as refused:
            other.add(1)
        assert (refused.value.code, refused.value.execution) == (ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED)
        modest.add(SMALL_REQUEST + 100)
        for _ in range(100):
            with budget.share(b"peer") as small:
                small.add(SMALL_REQUEST // 2)
                small.add(SMALL_REQUEST // 2)
        one.release()
        other.add(60)
        assert budget.held == 200


def test_room_is_given_back(budget: RequestBudget) -> None:
    """After an error, and after each message of a tunnel."""
    with suppress(KeyError), budget.share(b"peer") as share:
        share.add(SMALL_REQUEST + 100)
        raise KeyError
    with budget.share(b"peer") as share:
        for _ in range(10):
            share.add(SMALL_REQUEST)
            share.add(80)
            share.release()
