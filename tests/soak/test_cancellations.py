"""Hundreds of cancelled calls leave nothing behind: the short version of a part of `make soak`."""

from __future__ import annotations

import asyncio

from .cancellations import Cancellations, providers


async def test_cancelled_calls_return_every_connection() -> None:
    before = asyncio.all_tasks()
    async with providers() as transports:
        soak = Cancellations(transports)
        await soak.run(rounds=4, each=200)
        assert soak.in_use == {}
        await soak.use_every_place()
        await asyncio.sleep(0.1)
        assert soak.growth.descriptors <= 2 * len(transports)
    assert len(asyncio.all_tasks() - before) <= 8, "those of the provider, for idle connections"
