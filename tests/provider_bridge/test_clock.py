"""The bridge's time follows a wall clock that is set forward, and never goes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.clock import STEP_SECONDS, Clock, ClockWatch, steady
from blindrelay.provider_bridge.events import Event
from blindrelay.provider_bridge.keys.epoch_keys import EpochKeys
from blindrelay.provider_bridge.keys.signatory import HeldIdentity
from blindrelay.trust import IdentityKey, verify_directory

from .fake_time import START, FakeTime, W

ROUNDING = 1e-3
STEPS = st.one_of(st.floats(-1e9, 1e9), st.just(0.0))


@given(st.lists(st.tuples(STEPS, st.floats(0, 1e6))))
def test_time_goes_forward_only_and_is_never_behind_the_wall_clock(course: list[tuple[float, float]]) -> None:
    time = FakeTime()
    last = time.clock.now()
    for step, pause in course:
        time.wall += step
        time.advance(pause)
        now = time.clock.now()
        assert now >= last + pause - ROUNDING
        assert now >= time.wall - ROUNDING
        last = now


def test_a_wall_clock_that_was_behind_is_followed() -> None:
    time = FakeTime(START - 600)
    time.wall += 600
    assert (time.clock.now(), time.clock.followed, time.clock.ahead) == (START, 600, 0)


def test_a_wall_clock_that_is_set_back_is_ignored_until_it_has_caught_up() -> None:
    time = FakeTime()
    time.wall -= 100
    time.advance(5)
    assert (time.clock.now(), time.clock.followed, time.clock.ahead) == (START + 5, 0, 100)
    time.wall += 110
    assert (time.clock.now(), time.clock.followed, time.clock.ahead) == (START + 15, 10, 0)


def test_a_pause_between_the_two_readings_is_no_step() -> None:
    """The process may be held up between any two lines: both clocks go on meanwhile."""
    passed = 0.0

    def reading() -> float:
        nonlocal passed
        passed += 30
        return passed

    clock = Clock(reading, reading)
    for _ in range(10):
        clock.now()
    assert clock.followed == 0


def test_the_steady_clock_is_steady() -> None:
    assert steady() <= steady()


def test_steps_are_noted_once_and_small_ones_not_at_all() -> None:
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


@given(st.lists(STEPS, max_size=5))
def test_after_any_steps_clients_find_a_key_and_a_directory_in_force(steps: list[float]) -> None:
    time = FakeTime()
    identity = IdentityKey.generate()
    keys = EpochKeys(HeldIdentity(identity), time.clock, epoch=3_600)
    for step in steps:
        time.wall += step
        directory = verify_directory(keys.directory(), identity.public_key, int(time.clock.now()))
        for skew in (-W, 0, W):
            issued_at = -(-int(time.clock.now() + skew) // 10) * 10
            assert any(key.takes(issued_at) for key in directory.keys)
