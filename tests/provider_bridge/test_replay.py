"""Each exchange is claimed once, within the window, whatever the clock, the memory and the process do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge import AuditLog, Event, Outcome, bridge, clock
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.clock import STEP_SECONDS, Clock, ClockWatch
from blindrelay.provider_bridge.errors import UnclaimedError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.serving import authorization, issue_token
from blindrelay.trust import DirectoryError, IdentityKey
from blindrelay.v1.outer_status import OuterStatus

from .conftest import Serve
from .replica import START, FakeTime, W
from .scripted_provider import ScriptedProvider
from .sealed_caller import SealedCaller, SealedRequest


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
    readings = count(0.0, 30.0)
    clock = Clock(readings.__next__, readings.__next__)
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


EPOCH = 1_200
REFUSED = OuterStatus.REFUSED.value
KEY_UNKNOWN = OuterStatus.KEY_UNKNOWN.value
OVERLOADED = OuterStatus.OVERLOADED.value


@dataclass
class Replayed:
    """A bridge whose clock the test moves, and a caller of it."""

    caller: SealedCaller
    time: FakeTime
    log: AuditLog

    async def seal(self, ahead: int = 0) -> SealedRequest:
        return await self.caller.seal(issued_at=int(self.time.clock.now()) + ahead)

    async def send(self, request: SealedRequest) -> tuple[grpc.StatusCode, str | None] | None:
        """The status of a call that ends without a record; None if there is a sealed response."""
        call = await self.caller.send(request)
        records = 0
        with suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                records += 1
        return None if records else (await call.code(), await call.details())


@asynccontextmanager
async def running(serve: Serve, behind: int = 0, **fields: Any) -> AsyncIterator[Replayed]:
    fake, log = FakeTime(wall=int(time.time()) // 10 * 10 - behind), AuditLog()
    async with serve(log=log, clock=fake.clock, epoch=EPOCH, **fields) as caller:
        yield Replayed(caller, fake, log)


async def test_one_of_two_hundred_copies_is_answered(
    serve: Serve, identity: IdentityKey, provider: ScriptedProvider
) -> None:
    async with (
        running(serve, max_exchanges=500) as first,
        # Over two connections: nobody holds a relay to one.
        SealedCaller(first.caller.address, identity.public_key) as caller,
    ):
        second = replace(first, caller=caller)
        request = await first.seal()
        got = await asyncio.gather(*((first, second)[number % 2].send(request) for number in range(200)))
    assert Counter(got) == {None: 1, REFUSED: 199}
    assert len(provider.received) == 1


async def test_bridge_that_started_behind_serves_when_its_clock_is_right(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = asyncio.Event()
    monkeypatch.setattr(
        AuditLog, "note", lambda _, event: noted.set() if event is Event.CLOCK_SET_FORWARD else None
    )
    monkeypatch.setattr(clock, "_LOOK_EVERY", 0.01)
    async with running(serve, behind=600) as behind:
        with pytest.raises(DirectoryError):
            await behind.seal()
        behind.time.wall += 600
        assert await behind.send(await behind.seal()) is None
        await noted.wait()


async def test_key_opens_nothing_that_was_issued_after_its_end(serve: Serve) -> None:
    async with running(serve) as replayed:
        (key,) = (await replayed.caller.directory()).keys
        requests = [await replayed.caller.seal(issued_at=key.not_after + late) for late in (0, 10)]
        replayed.time.advance(key.not_after - replayed.time.clock.now())
        assert [await replayed.send(request) for request in requests] == [None, REFUSED]


async def test_restarted_bridge_does_not_know_the_key(serve: Serve, provider: ScriptedProvider) -> None:
    async with running(serve) as before:
        request = await before.seal()
        assert await before.send(request) is None
    async with running(serve) as after:
        assert set(await asyncio.gather(*(after.send(request) for _ in range(20)))) == {KEY_UNKNOWN}
        assert await after.send(await after.seal()) is None
    assert len(provider.received) == 2


async def test_full_memory_refuses_logs_it_and_recovers(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "CAPACITY", 4)
    async with running(serve) as replayed:
        for requests in [[await replayed.seal(ahead) for _ in range(6)] for ahead in (0, W)]:
            assert [await replayed.send(request) for request in requests] == [None] * 4 + [OVERLOADED] * 2
            assert await replayed.send(requests[0]) == OVERLOADED, "a replay gets the same status"
            assert capsys.readouterr().err == "", "what a caller can provoke waits for the minute"
            replayed.log.report()
            assert capsys.readouterr().err.count(Event.CLAIMS_FULL.value) == 1
            replayed.time.advance(W + 1)
    assert replayed.log.totals == {Outcome.COMPLETED.value: 8, Outcome.NO_ROOM.value: 6}


async def test_greedy_relay_leaves_room_for_another(
    serve: Serve, provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "CAPACITY", 4)
    tokens = tmp_path / "tokens"
    greedy, modest = (issue_token(tokens, name, datetime.now(UTC)) for name in ("greedy", "modest"))
    async with running(serve, tokens=tokens) as replayed:
        for token, got in ((greedy, [None, None, OVERLOADED]), (modest, [None, None])):
            replayed.caller.metadata = (authorization(token),)
            assert [await replayed.send(await replayed.seal()) for _ in got] == got
    assert len(provider.received) == 4
