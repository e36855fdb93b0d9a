"""Thousands of exchanges leave nothing behind; the short version of `make soak`, and what it would notice."""

from __future__ import annotations

import asyncio

from blindrelay.testbed import Testbed

from .soak import Growth, Sample, Soak, growth_of
from .verdict import SHORT_RUN, complaints


def test_a_few_thousand_exchanges_leave_nothing_behind() -> None:
    with Testbed("scripted") as bed:
        growth = asyncio.run(Soak(bed).run(warm_up=600, rounds=6, each=250))
    assert set(growth) == {"relay", "bridge", "client"}
    assert complaints(growth, SHORT_RUN) == []


def test_growth_is_the_slope_and_not_the_level() -> None:
    level, leaking = (
        [Sample(number, resident, 10, 10) for number, resident in enumerate(course)]
        for course in ([5_000, 9_000, 5_000, 9_000, 5_000], range(0, 20_480, 4_096))
    )
    assert abs(growth_of(level).bytes_each) < 1
    assert growth_of(leaking).bytes_each == 4_096


def test_what_grows_is_noticed() -> None:
    steady = Growth(bytes_each=10, resident=1, descriptors=0, threads=0)
    leaking = Growth(bytes_each=4_096, resident=1, descriptors=300, threads=300)
    assert complaints({"relay": steady, "bridge": leaking}, SHORT_RUN) == [
        "bridge keeps 4,096 bytes of each exchange",
        "bridge keeps 300 descriptors",
        "bridge keeps 300 threads",
    ]
