"""The bridge's time follows a wall clock that is set forward, and never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.audit_log import Event
from blindrelay.provider_bridge.clock import STEP_SECONDS, Clock, ClockWatch

from .replica import FakeTime

ROUNDING = 1e-3
STEPS = st.one_of(st.floats(-1e9, 1e9), st.just(0.0))


@given(st.lists(st.tuples(STEPS, st.floats(0, 1e6))))
def test_time_never_goes_back_and_is_never_behind_the_wall_clock(course: list[tuple[float, float]]) -> None:
    time = FakeTime()
    last = time.clock.now()
    for step, pause in course:
        time.wall += step
        time.advance(pause)
        now = time.clock.now()
        assert now >= last + pause - ROUNDING
        assert now >= time.wall - ROUNDING
        last = now


def test_pause_between_the_two_readings_is_not_a_step() -> None:
    """The process may be suspended between any two lines while both clocks go on."""
    passed = 0.0

    def reading() -> float:
        nonlocal passed
        passed += 30
        return passed

    clock = Clock(reading, reading)
    for _ in range(10):
        clock.now()
    assert clock.followed == 0


def test_large_steps_are_noted_once() -> None:
    time = FakeTime()
    noted: list[Event] = []
    watch = ClockWatch(time.clock, noted.append)
    for step, events in (
        (0, []),
        (STEP_SECONDS / 2, []),
        (600, [Event.CLOCK_SET_FORWARD]),
        (0, []),
        (-60, [Event.CLOCK_SET_BACK]),
        (-60, []),
        (120, []),
        (-60, [Event.CLOCK_SET_BACK]),
        (600, [Event.CLOCK_SET_FORWARD]),
    ):
        time.wall += step
        noted.clear()
        watch.look()
        watch.look()
        assert noted == events
