from __future__ import annotations

import asyncio

import pytest

from blindrelay.serving import Admission, CallRefusedError
from blindrelay.v1.outer_status import OuterStatus


async def test_no_more_than_the_limit_run_at_once() -> None:
    admission = Admission(2)
    with admission.admit():
        with admission.admit():
            assert admission.running == 2
            with pytest.raises(CallRefusedError) as refusal, admission.admit():
                pytest.fail("a third call was admitted")
            assert refusal.value.status is OuterStatus.OVERLOADED
        with admission.admit():
            assert admission.running == 2
    assert admission.running == 0


async def test_a_call_that_fails_gives_its_room_back() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), admission.admit():
            raise ValueError("x")
    assert admission.running == 0


async def test_closed_it_takes_nobody_and_waits_for_those_inside() -> None:
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
