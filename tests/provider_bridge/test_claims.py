"""Each exchange is claimed once, within the window, or not at all."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge.claims import CAPACITY, ClaimMemory
from blindrelay.provider_bridge.clock import Clock, steady
from blindrelay.provider_bridge.errors import UnclaimedError

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


def test_the_clock_is_read_once_and_then_only_grows(time: FakeTime) -> None:
    time.wall -= 10_000
    time.monotonic += 5
    assert time.clock.now() == START + 5
    assert steady() <= steady()


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
    memory = ClaimMemory(time.clock, capacity=4)
    assert claimed(memory, b"a", START)
    assert claimed(memory, b"b", START + 10)
    assert not memory.has_room()
    assert not claimed(memory, b"c", START + 10)
    time.advance(W + 1)
    assert memory.has_room(), "a is forgotten"
    assert claimed(memory, b"c", START + 10)
    assert not claimed(memory, b"d", START + 10)
    assert len(memory) == 2


def take_all(memory: ClaimMemory, peer: bytes, issued_at: int = START) -> int:
    """How many claims the memory lets a peer make."""
    count = 0
    while claimed(memory, b"%b %d %d" % (peer, issued_at, count), issued_at, peer):
        count += 1
    return count


def test_one_greedy_peer_leaves_half(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, capacity=1_000)
    assert take_all(memory, b"greedy") == 500
    assert not memory.has_room(b"greedy")
    assert memory.has_room(b"modest")
    assert all(claimed(memory, bytes([number]), START, b"modest") for number in range(100))
    assert not claimed(memory, bytes([0]), START, b"third"), "what one peer claimed is claimed for all"


def test_greedy_peers_one_after_the_other_leave_room_for_the_next(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, capacity=1_024)
    assert [take_all(memory, bytes([peer])) for peer in range(5)] == [512, 256, 128, 64, 32]
    assert claimed(memory, b"a", START, b"newcomer")


def test_greedy_peers_all_at_once_get_equal_shares(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, capacity=1_000)
    for number in range(1_000):
        for peer in range(4):
            claimed(memory, b"%d %d" % (peer, number), START, bytes([peer]))
    assert [memory._held[bytes([peer])] for peer in range(4)] == [200] * 4
    assert len(memory) == 800


def test_a_share_comes_back_when_its_claims_expire(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, capacity=1_000)
    for _ in range(3):
        assert take_all(memory, b"greedy", int(time.clock.now())) == 500
        time.advance(W + 1)
    assert memory.has_room(b"greedy")
    assert (len(memory), memory._held, memory._by_time, memory._times) == (0, {}, {}, [])


def test_a_peer_sees_no_single_claim_of_another(time: FakeTime) -> None:
    def room(victim: int, accomplice: int) -> int:
        """What is left to a spy, who can take it all and count."""
        memory = ClaimMemory(time.clock, capacity=10_000)
        for peer, count in ((b"victim", victim), (b"accomplice", accomplice)):
            for number in range(count):
                memory.claim(b"%b %d" % (peer, number), START, peer)
        return take_all(memory, b"spy")

    for accomplice in (0, 4, 17):
        assert len({room(claims, accomplice) for claims in range(10)}) == 1
        assert room(10, accomplice) == room(9, accomplice) - 5


def test_steps_are_given_back_when_claims_expire(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, capacity=10_000)
    for number in range(25):
        memory.claim(b"%d" % number, START + number, b"peer")
    for seconds, claims, steps in ((W, 25, 2), (3, 22, 2), (2.5, 19, 1), (9, 10, 1), (1, 9, 0), (9, 0, 0)):
        time.advance(seconds)
        assert (len(memory), memory._whole_steps) == (claims, steps)


def test_no_number_of_peers_takes_more_than_there_is(time: FakeTime) -> None:
    memory = ClaimMemory(time.clock, capacity=10_000)
    for peer in range(100):
        take_all(memory, bytes([peer]))
    assert len(memory) == memory.capacity
    assert not memory.has_room(b"newcomer")


def test_the_default_capacity_is_bounded(time: FakeTime) -> None:
    assert CAPACITY == ClaimMemory(time.clock).capacity == 1_000_000


def test_the_clock_is_read_once_for_a_claim() -> None:
    """By a second, later reading an old claim could be forgotten that the first one still let in."""
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


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),  # which exchange
            st.integers(-W - 20, W + 20),  # issued how long before or after now
            st.integers(0, 2),  # brought by whom
            st.floats(0, 200),  # seconds until the next
        ),
        max_size=60,
    )
)
def test_no_history_lets_an_exchange_in_twice(history: list[tuple[int, int, int, float]]) -> None:
    time = FakeTime()
    memory = ClaimMemory(time.clock, capacity=6)
    accepted: set[tuple[int, int]] = set()
    for exchange, offset, peer, pause in history:
        issued_at = int(time.clock.now()) + offset
        room = memory.has_room(bytes([peer]))
        if claimed(memory, bytes([exchange]), issued_at, bytes([peer])):
            assert room
            assert (exchange, issued_at) not in accepted
            accepted.add((exchange, issued_at))
        time.advance(pause)
