"""How many calls are admitted, and how holders share a resource."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import pytest

from blindrelay.serving import Admission, CallRefusedError, Shares
from blindrelay.v1.outer_status import OuterStatus


async def test_no_more_than_the_limit_run_at_once() -> None:
    admission = Admission(2)
    with admission.admit():
        with admission.admit():
            with pytest.raises(CallRefusedError) as refusal, admission.admit():
                pytest.fail("a third call was admitted")
            assert refusal.value.status is OuterStatus.OVERLOADED
        with pytest.raises(ValueError, match="x"), admission.admit():
            raise ValueError("x")
        assert admission.running == 1
    assert admission.running == 0


async def test_closed_admission_refuses_calls_and_waits_for_running_ones() -> None:
    admission = Admission(5)
    await admission.idle()
    with admission.admit():
        admission.close()
        assert admission.draining
        idle = asyncio.create_task(admission.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        with pytest.raises(CallRefusedError) as refusal, admission.admit():
            pytest.fail("a call was admitted while draining")
        assert refusal.value.status is OuterStatus.DRAINING
    await idle


async def test_admission_is_not_idle_while_calls_keep_coming() -> None:
    admission = Admission(1, quiet_seconds=0.2)
    admission.close()
    began = time.monotonic()
    for _ in range(3):
        with admission.admit(draining=True):
            await asyncio.sleep(0)
    await admission.idle()
    assert time.monotonic() - began >= 0.2


def test_holder_gets_no_more_than_is_left_free() -> None:
    shares = Shares(9)
    with ExitStack() as stack:
        for holder, expected in (("greedy", 5), ("next", 2), ("last", 1)):
            for _ in range(expected):
                stack.enter_context(shares.hold(holder))
            with pytest.raises(CallRefusedError) as refusal, shares.hold(holder):
                pass
            assert refusal.value.status is OuterStatus.OVERLOADED
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(shares.hold("another"))


def test_holder_gets_no_more_than_its_fixed_bound() -> None:
    shares = Shares(100, each=10)
    with shares.share_of("one") as share, shares.share_of("one") as more:
        share.add(6)
        with pytest.raises(CallRefusedError):
            more.add(5)
        more.add(4)
        share.release()
        more.add(6)
