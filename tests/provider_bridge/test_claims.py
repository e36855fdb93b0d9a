"""Each exchange is claimed once, within the window, or not at all."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge.claims import CAPACITY, ClaimMemory
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.quota import Quota

from .fake_time import START, FakeTime, W


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def claimed(memory: ClaimMemory, exchange_id: bytes, issued_at: int, peer: bytes = b"") -> bool:
    try:
        memory.claim(exchange_id, issued_at, peer)
    except UnclaimedError:
        return False
    return True


def test_an_exchange_is_claimed_once(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock)
    assert claimed(memory, b"a", START)
    assert not claimed(memory, b"a", START)
    assert not claimed(memory, b"a", START + 10), "another time makes it no other exchange"
    assert claimed(memory, b"b", START)


@pytest.mark.parametrize(
    ("offset", "accepted"),
    [(-W - 1, False), (-W, True), (0, True), (W, True), (W + 1, False), (-(10**6), False)],
)
def test_the_window_both_ways(time: FakeTime, offset: int, accepted: bool) -> None:
    assert claimed(ClaimMemory(time.clock), b"a", START + offset) is accepted


@pytest.mark.parametrize("offset", [-W, 0, W])
def test_a_claim_is_remembered_as_long_as_it_could_be_made_again(time: FakeTime, offset: int) -> None:
    memory = ClaimMemory(time.clock)
    issued_at = START + offset
    assert claimed(memory, b"a", issued_at)
    time.advance(issued_at + W - START)
    assert not claimed(memory, b"a", issued_at)
    assert len(memory) == 1
    time.advance(0.001)
    assert not claimed(memory, b"a", issued_at), "too old now"
    assert len(memory) == 0


def test_a_wall_clock_that_is_set_back_opens_no_door(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock)
    assert claimed(memory, b"a", START)
    time.advance(2 * W)
    time.wall = START
    assert not claimed(memory, b"a", START)


def test_a_full_memory_refuses_until_there_is_room(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, Quota(4))
    assert claimed(memory, b"a", START)
    assert claimed(memory, b"b", START + 10)
    assert claimed(memory, b"c", START + 10)
    assert claimed(memory, b"d", START + 10)
    assert not memory.has_room()
    assert not claimed(memory, b"e", START + 10)
    time.advance(W + 1)
    assert memory.has_room(), "a is forgotten"
    assert claimed(memory, b"e", START + 10)
    assert not claimed(memory, b"f", START + 10)
    assert len(memory) == 4


def test_each_peer_claims_its_share(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, Quota(6, lambda: 2))
    assert [claimed(memory, bytes([number]), START, b"greedy") for number in range(4)] == [True] * 3 + [False]
    assert not memory.has_room(b"greedy")
    assert memory.has_room(b"modest")
    assert not claimed(memory, bytes([0]), START, b"modest"), "what one peer claimed is claimed for all"
    assert all(claimed(memory, bytes([number]), START, b"modest") for number in range(10, 13))


def test_a_share_comes_back_when_its_claims_expire(time: FakeTime) -> None:
    quota = Quota(6, lambda: 2)
    memory = ClaimMemory(time.clock, quota)
    for _ in range(3):
        for number in range(3):
            assert claimed(memory, bytes([number]), int(time.clock.now()), b"greedy")
        assert not memory.has_room(b"greedy")
        time.advance(W + 1)
    assert memory.has_room(b"greedy")
    assert (len(memory), quota.held, memory._by_time, memory._times) == (0, 0, {}, [])


def test_the_default_capacity_is_bounded(time: FakeTime) -> None:
    assert CAPACITY == ClaimMemory(time.clock).capacity == 1_000_000


def test_the_clock_is_read_once_for_a_claim() -> None:
    """A second, later reading could forget an old claim that the first one still let in."""
    readings = iter([0.0, START + W, START + W, START + W + 0.001])
    memory = ClaimMemory(Clock(lambda: 0.0, lambda: next(readings)))
    assert claimed(memory, b"a", START)
    assert not claimed(memory, b"a", START)


async def test_of_many_at_once_one_claims(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock)

    async def attempt() -> bool:
        await asyncio.sleep(0)
        return claimed(memory, b"a", START)

    assert sum(await asyncio.gather(*(attempt() for _ in range(200)))) == 1


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
def test_no_history_of_steps_lets_an_exchange_in_twice(
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
