"""The bytes of requests that one peer, and all of them, may hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import SMALL_REQUEST, RequestBudget
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED


@pytest.fixture
def budget() -> Iterator[RequestBudget]:
    """Of 200 bytes, for two peers."""
    budget = RequestBudget(Quota(200, lambda: 2))
    yield budget
    assert budget.held == 0


def test_requests_of_a_peer_are_bounded_together(budget: RequestBudget) -> None:
    with budget.share(b"peer") as one, budget.share(b"peer") as other:
        one.add(SMALL_REQUEST + 60)
        other.add(SMALL_REQUEST)
        other.add(40)
        with pytest.raises(RequestError) as refused:
            other.add(1)
        assert refused.value.code == ERROR_CODE_OVERLOADED
        assert refused.value.execution == EXECUTION_NOT_STARTED
        one.release()
        other.add(60)
        assert budget.held == 100


def test_small_request_always_finds_room(budget: RequestBudget) -> None:
    with budget.share(b"peer") as large:
        large.add(SMALL_REQUEST + 100)
        for _ in range(1_000):
            with budget.share(b"peer") as small:
                small.add(SMALL_REQUEST // 2)
                small.add(SMALL_REQUEST // 2)


def test_peer_leaves_others_their_share(budget: RequestBudget) -> None:
    with budget.share(b"greedy") as greedy, budget.share(b"modest") as modest:
        greedy.add(SMALL_REQUEST + 100)
        modest.add(SMALL_REQUEST + 100)


def test_room_is_given_back_after_an_error(budget: RequestBudget) -> None:
    with pytest.raises(RequestError), budget.share(b"peer") as share:
        share.add(SMALL_REQUEST + 100)
        share.add(1)


def test_released_share_counts_from_the_beginning(budget: RequestBudget) -> None:
    """A tunnel releases it after each message."""
    with budget.share(b"peer") as share:
        for _ in range(10):
            share.add(SMALL_REQUEST)
            share.add(80)
            share.release()
