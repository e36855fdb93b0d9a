"""Each exchange is claimed once, within the window, by a clock that never goes back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge.audit_log import Event
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import STEP_SECONDS, Clock, ClockWatch
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.quota import Quota

from .replica import START, FakeTime, W


def claimed(memory: ClaimMemory, exchange_id: bytes, issued_at: int, peer: bytes = b"") -> bool:
    try:
        memory.claim(exchange_id, issued_at, peer)
    except UnclaimedError:
        return False
    return True


@pytest.mark.parametrize("offset", [-W, 0, W])
def test_claim_is_remembered_for_as_long_as_it_could_be_repeated(offset: int) -> None:
    time = FakeTime()
    memory = ClaimMemory(time.clock)
    assert not claimed(memory, b"a", START + (-W - 1 if offset < 0 else W + 1)), "outside the window"
    assert claimed(memory, b"a", START + offset)
    assert not claimed(memory, b"a", START), "another time does not make it another exchange"
    assert claimed(memory, b"b", START + offset)
    time.advance(offset + W)
    assert not claimed(memory, b"a", START + offset)
    assert len(memory) == 2
    time.advance(0.001)
    assert not claimed(memory, b"a", START + offset), "too old now"
    assert len(memory) == 0


def test_peer_claims_its_share_until_it_is_free_again() -> None:
    time = FakeTime()
    quota = Quota(6, lambda: 2)
    memory = ClaimMemory(time.clock, quota)
    for _ in range(2):
        now = int(time.clock.now())
        greedy = [claimed(memory, bytes([number]), now, b"greedy") for number in range(4)]
        assert greedy == [True, True, True, False]
        assert not memory.has_room(b"greedy")
        assert memory.has_room(b"modest")
        assert not claimed(memory, bytes([0]), now, b"modest"), "a claim counts for all peers"
        assert all(claimed(memory, bytes([number]), now, b"modest") for number in range(10, 13))
        time.advance(W + 1)
    assert memory.has_room(b"greedy")
    assert (len(memory), quota.held, memory._by_time, memory._times) == (0, 0, {}, [])


def test_clock_is_read_once_for_a_claim() -> None:
    """A second, later reading could forget an old claim that the first one still let in."""
    readings = iter([0.0, START + W, START + W, START + W + 0.001])
    memory = ClaimMemory(Clock(lambda: 0.0, lambda: next(readings)))
    assert claimed(memory, b"a", START)
    assert not claimed(memory, b"a", START)


STEPS = st.one_of(st.floats(-1e9, 1e9), st.sampled_from([-W, W, W + 0.001, 2 * W]), st.just(0.0))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),  # which exchange
            st.one_of(st.integers(-W - 20, W + 20), st.none()),  # issued how long from now; None as before
            st.integers(0, 2),  # brought by whom
            st.floats(0, 200),  # seconds until the next
            STEPS,  # by which the wall clock is set meanwhile
        ),
        max_size=60,
    )
)
def test_no_steps_of_the_clock_let_an_exchange_in_twice(
    history: list[tuple[int, int | None, int, float, float]],
) -> None:
    time = FakeTime()
    memory = ClaimMemory(time.clock, Quota(6, lambda: 2))
    accepted: set[tuple[int, int]] = set()
    issued: dict[int, int] = {}
    for exchange, offset, peer, pause, step in history:
        now = time.clock.now()
        issued_at = issued.get(exchange, int(now)) if offset is None else int(now) + offset
        issued[exchange] = issued_at
        room = memory.has_room(bytes([peer]))
        if claimed(memory, bytes([exchange]), issued_at, bytes([peer])):
            assert room
            assert (exchange, issued_at) not in accepted
            accepted.add((exchange, issued_at))
        time.wall += step
        time.advance(pause)


ROUNDING = 1e-3


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
    forward, back = Event.CLOCK_SET_FORWARD, Event.CLOCK_SET_BACK
    for step, event in (
        *((0, None), (STEP_SECONDS / 2, None), (600, forward), (0, None), (-60, back), (-60, None)),
        *((120, None), (-60, back), (600, forward)),
    ):
        time.wall += step
        noted.clear()
        watch.look()
        watch.look()
        assert noted == ([] if event is None else [event])
