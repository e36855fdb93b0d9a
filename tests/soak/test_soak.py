"""The short version of `make soak`, and what it would notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from blindrelay.testbed import Testbed
from tests.patience import until

from .cancellations import Cancellations, providers
from .neighbours import NEIGHBOURS, Course
from .soak import SHORT_RUN, Growth, Sample, Soak, complaints

Neighbour = Callable[[Testbed, float], Coroutine[Any, Any, Course]]


def test_a_few_thousand_exchanges_leave_nothing_behind() -> None:
    """The client has a process of its own, too: this one grows for other reasons."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        growth = process.submit(_short_run).result()
    assert set(growth) == {"relay", "bridge", "client"}
    assert complaints(growth, SHORT_RUN) == []


def _short_run() -> Mapping[str, Growth]:
    with Testbed("scripted") as bed:
        return asyncio.run(Soak(bed).run(warm_up=1_000, rounds=15, each=200))


async def test_cancelled_calls_return_every_connection() -> None:
    before = asyncio.all_tasks()
    async with providers() as transports:
        soak = Cancellations(transports)
        await soak.run(rounds=4, each=200)
        assert soak.in_use == {}
        await soak.use_every_place()

        def few_descriptors() -> bool:
            soak.take_last_sample_again()
            return soak.growth.descriptors <= 2 * len(transports)

        await until(few_descriptors)
    # Those of the provider, for idle connections.
    await until(lambda: len(asyncio.all_tasks() - before) <= 8)


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
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


def test_growth_is_noticed() -> None:
    level, leaking = (
        Growth.of([Sample(number, resident, number, number) for number, resident in enumerate(course)])
        for course in ([5_000, 9_000, 5_000, 9_000, 5_000], range(0, 102_400, 4_096))
    )
    assert complaints({"relay": level, "bridge": leaking}, SHORT_RUN) == [
        "bridge keeps 4,096 bytes of each exchange",
        "bridge keeps 17 descriptors",
        "bridge keeps 17 threads",
    ]
