"""Peers share evenly, and a refusal tells a peer nothing about the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.quota import Quota


def take_all(quota: Quota, peer: bytes) -> int:
    """How much a peer gets, one by one."""
    count = 0
    while quota.take(peer):
        count += 1
    return count


def test_single_peer_may_hold_everything() -> None:
    assert take_all(Quota(1_000), b"only") == 1_000


@pytest.mark.parametrize("peers", [2, 3, 7, 1_000])
def test_greedy_peers_leave_each_other_their_shares(peers: int) -> None:
    quota = Quota(1_000, lambda: peers)
    names = [b"%d" % number for number in range(peers)]
    assert {take_all(quota, name) for name in names} == {1_000 // peers}


def test_room_of_a_peer_depends_on_its_own_holdings_alone() -> None:
    for others in range(0, 501, 100):
        quota = Quota(1_000, lambda: 2)
        assert quota.take(b"other", others) or not others
        assert take_all(quota, b"spy") == 500


def test_second_peer_halves_the_share_from_then_on() -> None:
    peers = 1
    quota = Quota(100, lambda: peers)
    assert quota.take(b"first", 100)
    peers = 2
    assert not quota.take(b"second"), "there is nothing left yet"
    quota.give_back(b"first", 30)
    assert not quota.take(b"first"), "it holds more than its share"
    assert take_all(quota, b"second") == 30
    quota.give_back(b"first", 70)
    assert (quota.share, take_all(quota, b"first"), take_all(quota, b"second")) == (50, 50, 20)


def test_more_peers_than_shares_never_hold_more_than_there_is() -> None:
    quota = Quota(100, lambda: 2)
    assert [take_all(quota, bytes([peer])) for peer in range(4)] == [50, 50, 0, 0]


def test_least_share_is_kept_however_many_peers_there_are() -> None:
    quota = Quota(100, lambda: 50, least=40)
    assert quota.take(b"one", 40)
    assert not quota.take(b"one")
    assert quota.take(b"other", 40)
    assert not quota.take(b"third", 40)
    assert quota.take(b"third", 20)


def test_no_share_is_less_than_one() -> None:
    assert Quota(1, lambda: 10).share == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.booleans(), st.integers(1, 4))))
def test_held_is_the_sum_of_what_peers_took(history: list[tuple[int, int, bool, int]]) -> None:
    peers = 1
    quota = Quota(100, lambda: peers, least=10)
    held = dict.fromkeys(range(4), 0)
    for peer, amount, more, count in history:
        peers = count
        if more and quota.take(bytes([peer]), amount):
            held[peer] += amount
            assert held[peer] <= quota.share
        elif not more:
            amount = min(amount, held[peer])
            if amount:
                quota.give_back(bytes([peer]), amount)
            held[peer] -= amount
        assert quota.held == sum(held.values()) <= quota.capacity
