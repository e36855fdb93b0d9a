"""The short form of tests.soak.greedy_relay."""

from __future__ import annotations

import asyncio

from .greedy_relay import SharedBridge

REQUESTS = 40


def test_greedy_relay_leaves_room_for_another() -> None:
    with SharedBridge.running() as bridge, bridge.beside_greedy_relay():
        greedy = asyncio.run(bridge.serve(bridge.greedy, REQUESTS))
        modest = asyncio.run(bridge.serve(bridge.modest, REQUESTS))
    assert (len(modest.seconds), modest.refused) == (REQUESTS, 0)
    assert greedy.refused, "it has used up its share, so the other was served from its own"
