"""Refusals leave on the ticks of one grid, chosen by when their call came and by nothing else."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.refusal_ticks import REFUSAL_SECONDS, RefusalTicks, tick_after


@given(st.floats(0, 1e8))
def test_a_tick_is_one_to_two_steps_later(since: float) -> None:
    later = tick_after(since, REFUSAL_SECONDS) * REFUSAL_SECONDS - since
    assert REFUSAL_SECONDS - 1e-6 <= later < 2 * REFUSAL_SECONDS + 1e-6


class HeldTicks(RefusalTicks):
    """Ticks that come when a test says so."""

    def __init__(self) -> None:
        super().__init__(seconds=1)
        self.due: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def _tick(self, number: int) -> None:
        await self.due[number].wait()


async def test_what_came_in_one_step_leaves_on_one_tick() -> None:
    ticks = HeldTicks()
    left: list[float] = []

    async def refuse(since: float) -> None:
        await ticks.wait(since)
        left.append(since)

    refusals = [asyncio.create_task(refuse(since)) for since in (7.9, 7.1, 8.0, 8.1)]
    await asyncio.sleep(0)
    assert (left, set(ticks.due)) == ([], set())
    ticks.due[9].set()
    await asyncio.gather(*refusals[:3])
    assert left == [7.9, 7.1, 8.0]
    ticks.due[10].set()
    await refusals[3]


async def test_a_caller_that_goes_away_holds_nobody_up() -> None:
    ticks = HeldTicks()
    gone, stays = (asyncio.create_task(ticks.wait(since)) for since in (7.1, 7.2))
    await asyncio.sleep(0)
    gone.cancel()
    ticks.due[9].set()
    await stays


async def test_real_ticks_come_in_time_and_leave_nothing_behind() -> None:
    ticks = RefusalTicks(seconds=0.01)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(ticks.wait(began + number / 1_000) for number in range(30)))
    assert loop.time() >= began + 0.029 + 0.01
    assert not ticks._ticks
