"""The short form of tests.soak.greedy_relay, and what it would notice."""

from __future__ import annotations

import asyncio

from .greedy_relay import SharedBridge

REQUESTS = 40


def test_a_greedy_relay_leaves_another_served() -> None:
    with SharedBridge.running() as bridge, bridge.beset():
        greedy = asyncio.run(bridge.serve(bridge.greedy, REQUESTS))
        modest = asyncio.run(bridge.serve(bridge.modest, REQUESTS))
    assert (len(modest.seconds), modest.refused) == (REQUESTS, 0)
    assert greedy.refused, "it holds its whole share: the other was served for having one of its own"
