"""The short version of `make soak`, and what it would notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from blindrelay.testbed import Testbed

from .neighbours import Course, beside_a_greedy_token, beside_a_hostile_bridge
from .soak import Growth, Sample, Soak, growth_of
from .verdict import SHORT_RUN, complaints

Neighbour = Callable[[Testbed, float], Coroutine[Any, Any, Course]]


def test_a_few_thousand_exchanges_leave_nothing_behind() -> None:
    with Testbed("scripted") as bed:
        growth = asyncio.run(Soak(bed).run(warm_up=500, rounds=5, each=200))
    assert set(growth) == {"relay", "bridge", "client"}
    assert complaints(growth, SHORT_RUN) == []


@pytest.mark.parametrize("neighbour", [beside_a_greedy_token, beside_a_hostile_bridge])
def test_small_requests_are_served_beside_a_bad_neighbour(neighbour: Neighbour) -> None:
    """`make soak` measures how fast. A busy machine could not tell."""
    with Testbed("scripted") as bed:
        course = asyncio.run(neighbour(bed, 3.0))
    assert min(len(course.quiet), len(course.beside)) >= 10


def test_slower_requests_are_noticed() -> None:
    assert Course("x", [0.01] * 200, [0.029] * 200).complaints == []
    assert Course("x", [0.01] * 200, [0.01] * 197 + [0.031] * 3).complaints == [
        "x: p99 of 200 requests 31 ms, 10 ms when it is quiet: more than 3 times as long"
    ]


def test_growth_is_the_slope_of_the_samples() -> None:
    level, leaking = (
        [Sample(number, resident, 10, 10) for number, resident in enumerate(course)]
        for course in ([5_000, 9_000, 5_000, 9_000, 5_000], range(0, 20_480, 4_096))
    )
    assert abs(growth_of(level).bytes_each) < 1
    assert growth_of(leaking).bytes_each == 4_096


def test_growth_is_noticed() -> None:
    steady = Growth(bytes_each=10, resident=1, descriptors=0, threads=0)
    leaking = Growth(bytes_each=4_096, resident=1, descriptors=300, threads=300)
    assert complaints({"relay": steady, "bridge": leaking}, SHORT_RUN) == [
        "bridge keeps 4,096 bytes of each exchange",
        "bridge keeps 300 descriptors",
        "bridge keeps 300 threads",
    ]
