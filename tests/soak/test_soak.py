"""Thousands of exchanges leave nothing behind; the short version of `make soak`, and what it would notice."""

from __future__ import annotations

import asyncio

from blindrelay.testbed import Testbed

from .soak import Growth, Soak
from .verdict import SHORT_RUN, complaints


def test_a_few_thousand_exchanges_leave_nothing_behind() -> None:
    with Testbed("scripted") as bed:
        growth = asyncio.run(Soak(bed).run(warm_up=800, rounds=6, each=300))
    assert set(growth) == {"relay", "bridge", "client"}
    assert complaints(growth, SHORT_RUN) == []


def test_what_grows_is_noticed() -> None:
    steady = Growth(bytes_each=10, resident=1, descriptors=0, threads=0)
    leaking = Growth(bytes_each=4_096, resident=1, descriptors=300, threads=300)
    assert complaints({"relay": steady, "bridge": leaking}, SHORT_RUN) == [
        "bridge keeps 4,096 bytes of each exchange",
        "bridge keeps 300 descriptors",
        "bridge keeps 300 threads",
    ]
