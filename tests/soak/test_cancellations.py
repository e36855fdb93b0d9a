"""Hundreds of cancelled calls leave nothing behind; the short version of what `make soak` does."""

from __future__ import annotations

import asyncio

from .cancellations import Cancellations, providers


async def test_cancelled_calls_give_everything_back() -> None:
    before = asyncio.all_tasks()
    async with providers() as transports:
        soak = Cancellations(transports)
        await soak.run(rounds=4, each=200)
        assert soak.in_use == {}
        await soak.use_every_place()
        await asyncio.sleep(0.1)
        assert soak.growth.descriptors <= 2 * len(transports)
    assert len(asyncio.all_tasks() - before) <= 8, "the provider's own, for connections that are idle"
