"""The limit for waits that follow each other is asyncio.timeout()'s, with one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from blindrelay.client.wait_limit import WaitLimit

SHORT = 0.01
LONG = 600.0


async def forever() -> None:
    await asyncio.Event().wait()


async def at_once() -> str:
    return "done"


@pytest.mark.parametrize("before", [None, SHORT, LONG])
async def test_late_wait_ends_whatever_the_last_limit_was(before: float | None) -> None:
    limit = WaitLimit()
    assert await limit.within(before, at_once()) == "done"
    with pytest.raises(TimeoutError):
        await limit.within(SHORT, forever())
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_limit_is_that_of_the_present_wait() -> None:
    """The timer of an earlier wait goes off during a later one, which has more time."""
    limit = WaitLimit()
    await limit.within(SHORT, at_once())
    waiting = asyncio.create_task(limit.within(LONG, forever()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting), 10 * SHORT)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    limit.close()


async def test_cancelled_wait_is_not_late() -> None:
    limit = WaitLimit()
    waiting = asyncio.create_task(limit.within(LONG, forever()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    limit.close()


async def test_wait_that_is_late_and_cancelled_is_cancelled() -> None:
    limit = WaitLimit()

    async def cancelled_when_late() -> None:
        try:
            await forever()
        finally:
            waiting.cancel()

    waiting = asyncio.create_task(limit.within(SHORT, cancelled_when_late()))
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_many_waits_need_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    call_at: Callable[..., asyncio.TimerHandle] = loop.call_at

    def noted(*arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(call_at(*arguments, **options))
        return timers[-1]

    monkeypatch.setattr(loop, "call_at", noted)
    limit = WaitLimit()
    for _ in range(100):
        await limit.within(LONG, at_once())
    limit.close()
    assert [timer.cancelled() for timer in timers] == [True]
