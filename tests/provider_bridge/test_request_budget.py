"""Bytes of requests, over all exchanges."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.request_budget import RequestBudget
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, EXECUTION_NOT_STARTED


def test_what_all_requests_hold_is_bounded() -> None:
    budget = RequestBudget(100)
    with budget.share() as one, budget.share() as other:
        one.add(60)
        other.add(40)
        with pytest.raises(RequestError) as refused:
            other.add(1)
        assert refused.value.code == ERROR_CODE_OVERLOADED
        assert refused.value.execution == EXECUTION_NOT_STARTED
        one.release()
        other.add(60)
        assert budget.held == 100
    assert budget.held == 0


def test_a_share_is_given_back_whatever_happens() -> None:
    budget = RequestBudget(100)

    def fail() -> None:
        with budget.share() as share:
            share.add(100)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert budget.held == 0
