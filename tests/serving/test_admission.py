"""How many calls are admitted, and how holders share a resource."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from blindrelay.serving import Admission, CallRefusedError, Shares
from blindrelay.v1.outer_status import OuterStatus


@contextmanager
def refused(status: OuterStatus) -> Iterator[None]:
    with pytest.raises(CallRefusedError) as refusal:
        yield
    assert refusal.value.status is status


def test_no_more_than_the_limit_run_at_once() -> None:
    admission = Admission(2)
    with admission.admit():
        with admission.admit(), refused(OuterStatus.OVERLOADED), admission.admit():
            pass
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
        with refused(OuterStatus.DRAINING), admission.admit():
            pass
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
    for _ in range(2):  # everything is given back
        with ExitStack() as stack:
            for holder, expected in (("greedy", 5), ("next", 2), ("last", 1)):
                for _ in range(expected):
                    stack.enter_context(shares.hold(holder))
                with refused(OuterStatus.OVERLOADED), shares.hold(holder):
                    pass


def test_holder_gets_no_more_than_its_fixed_bound() -> None:
    shares = Shares(100, each=10)
    with shares.share_of("one") as share, shares.share_of("one") as more:
        share.add(6)
        with refused(OuterStatus.OVERLOADED):
            more.add(5)
        more.add(4)
        share.release()
        more.add(6)
