"""A repeated exchange is refused with one provider call made, at once and across every edge of time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, Event, EventLog, Outcome, bridge, clock
from blindrelay.serving import authorization, issue_token
from blindrelay.trust import DirectoryError, IdentityKey
from blindrelay.v1.outer_status import OuterStatus

from .fake_provider import FakeProvider
from .fake_time import FakeTime, W
from .sealed_caller import SealedCaller, SealedRequest

EPOCH = 1_200
REFUSED = OuterStatus.REFUSED.value
KEY_UNKNOWN = OuterStatus.KEY_UNKNOWN.value
OVERLOADED = OuterStatus.OVERLOADED.value

Outer = tuple[grpc.StatusCode, str | None]


@dataclass
class Replayed:
    """A bridge whose clock the test moves, and a caller of it."""

    caller: SealedCaller
    time: FakeTime
    log: EventLog

    async def seal(self, offset: int = 0) -> SealedRequest:
        """A request that is issued so many seconds from now."""
        return await self.caller.seal(issued_at=int(self.time.clock.now()) + offset)

    async def send(self, request: SealedRequest) -> Outer | None:
        """The status of a call that ends without a record; None if there is a sealed response."""
        call = await self.caller.send(request)
        records = 0
        with suppress(grpc.aio.AioRpcError):
            while await call.read() is not grpc.aio.EOF:
                records += 1
        return None if records else (await call.code(), await call.details())

    async def repeat(self, request: SealedRequest, pauses: Iterable[float]) -> list[Outer | None]:
        """What becomes of a request that is sent again after each pause."""
        got = []
        for pause in pauses:
            self.time.advance(pause)
            got.append(await self.send(request))
        return got


@asynccontextmanager
async def running(
    config: BridgeConfig,
    identity: IdentityKey,
    metadata: tuple[tuple[str, str], ...] = (),
    behind: int = 0,
) -> AsyncIterator[Replayed]:
    fake, log = FakeTime(wall=int(time.time()) // 10 * 10 - behind), EventLog()
    async with (
        Bridge(replace(config, epoch=EPOCH), identity, log, fake.clock).running() as address,
        SealedCaller(str(address), identity.public_key, metadata) as caller,
    ):
        yield Replayed(caller, fake, log)


@pytest.fixture
async def replayed(config: BridgeConfig, identity: IdentityKey) -> AsyncIterator[Replayed]:
    async with running(config, identity) as replayed:
        yield replayed


async def test_of_two_hundred_at_once_one_is_answered_and_the_provider_called_once(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider
) -> None:
    async with (
        running(replace(config, max_exchanges=500), identity) as first,
        # Over two connections: nobody holds a relay to one.
        SealedCaller(first.caller.address, identity.public_key) as caller,
    ):
        second = replace(first, caller=caller)
        request = await first.seal()
        got = await asyncio.gather(*((first, second)[number % 2].send(request) for number in range(200)))
    assert Counter(got) == {None: 1, REFUSED: 199}
    assert len(provider.received) == 1


@pytest.mark.parametrize(("offset", "calls"), [(-W, 0), (-60, 0), (-50, 1), (0, 1), (60, 1), (W, 1)])
async def test_a_replay_is_refused_across_the_windows_edges(
    replayed: Replayed, provider: FakeProvider, offset: int, calls: int
) -> None:
    """Dated back too far it is opened and its minute is over; dated ahead it is remembered longer."""
    request = await replayed.seal(offset)
    assert await replayed.send(request) is None
    assert len(provider.received) == calls
    last = offset + W  # seconds from now: the window's end for this exchange
    pauses = [0, last, 0.001, 1, W] if last else [0, 0.001, 1, W]
    assert set(await replayed.repeat(request, pauses)) == {REFUSED}
    assert len(provider.received) == calls


@pytest.mark.parametrize("offset", [-W - 10, W + 10])
async def test_beyond_the_window_nothing_is_taken_even_once(
    replayed: Replayed, provider: FakeProvider, offset: int
) -> None:
    request = await replayed.seal(offset)
    assert await replayed.send(request) == REFUSED
    assert provider.received == []


async def test_dated_too_far_ahead_it_is_taken_once_when_its_time_comes(
    replayed: Replayed, provider: FakeProvider
) -> None:
    """A relay that holds such an exchange back wins nothing: its first use is still its only one."""
    request = await replayed.seal(W + 10)
    assert await replayed.repeat(request, [0, 9.999, 0.001, 0, W, W]) == [
        *(REFUSED, REFUSED, None),
        *(REFUSED, REFUSED, REFUSED),
    ]
    assert len(provider.received) == 1


async def test_a_wall_clock_that_steps_back_lets_nothing_in_again(
    replayed: Replayed, provider: FakeProvider
) -> None:
    request = await replayed.seal()
    assert await replayed.send(request) is None
    replayed.time.advance(W + 1)
    replayed.time.wall -= W + 1
    assert await replayed.repeat(request, [0, 0]) == [REFUSED, REFUSED]
    assert len(provider.received) == 1


@pytest.mark.parametrize("step", [1, W, W + 1, 2 * W, EPOCH, 10 * EPOCH, 10**9])
async def test_a_wall_clock_that_steps_forward_lets_nothing_in_again(
    replayed: Replayed, provider: FakeProvider, step: int
) -> None:
    request = await replayed.seal(W)
    assert await replayed.send(request) is None
    replayed.time.wall += step
    assert set(await replayed.repeat(request, [0, 1, W])) <= {REFUSED, KEY_UNKNOWN}
    replayed.time.wall -= step
    assert set(await replayed.repeat(request, [0, 1, W])) <= {REFUSED, KEY_UNKNOWN}
    assert len(provider.received) == 1


async def test_a_bridge_that_started_behind_serves_as_soon_as_its_clock_is_right(
    config: BridgeConfig,
    identity: IdentityKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted = asyncio.Event()
    monkeypatch.setattr(
        EventLog, "note", lambda _, event: noted.set() if event is Event.CLOCK_SET_FORWARD else None
    )
    monkeypatch.setattr(clock, "_LOOK_EVERY", 0.01)
    async with running(config, identity, behind=600) as behind:
        with pytest.raises(DirectoryError):
            await behind.seal()
        behind.time.wall += 600
        assert await behind.send(await behind.seal()) is None
        async with asyncio.timeout(20):
            await noted.wait()


async def test_a_replay_is_refused_while_its_key_lives_on_and_unknown_afterwards(
    replayed: Replayed, provider: FakeProvider
) -> None:
    request = await replayed.seal(W)
    assert await replayed.send(request) is None
    (key,) = (await replayed.caller.directory()).keys
    now = replayed.time.clock.now()
    # The next key is drawn; the old one takes nothing new; its last moment; gone.
    pauses = (EPOCH / 2 + 10, EPOCH / 2, key.not_after + W - now - EPOCH - 10, 0.001)
    assert await replayed.repeat(request, pauses) == [REFUSED, REFUSED, REFUSED, KEY_UNKNOWN]
    assert len(provider.received) == 1


async def test_after_a_restart_the_key_is_unknown(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider
) -> None:
    async with running(config, identity) as before:
        request = await before.seal()
        assert await before.send(request) is None
    async with running(config, identity) as after:
        assert set(await asyncio.gather(*(after.send(request) for _ in range(20)))) == {KEY_UNKNOWN}
    assert len(provider.received) == 1


@pytest.fixture
def few_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for four: of one peer, or of two of each of two."""
    monkeypatch.setattr(bridge, "CAPACITY", 4)


@pytest.mark.usefixtures("few_claims")
async def test_a_full_memory_refuses_says_so_and_recovers(
    replayed: Replayed, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = [await replayed.seal() for _ in range(6)]
    later = [await replayed.seal(W) for _ in range(5)]
    assert [await replayed.send(request) for request in requests] == [None] * 4 + [OVERLOADED] * 2
    assert await replayed.send(requests[0]) == OVERLOADED, "a replay is told no more than anything else"
    assert len(provider.received) == 4
    assert capsys.readouterr().err == "", "what a caller can provoke waits for the minute"
    replayed.log.report()
    assert capsys.readouterr().err.count(Event.CLAIMS_FULL.value) == 1
    assert replayed.log.totals == {Outcome.COMPLETED.value: 4, Outcome.NO_ROOM.value: 3}
    replayed.time.advance(W + 1)
    assert [await replayed.send(request) for request in later] == [None] * 4 + [OVERLOADED]
    assert await replayed.send(requests[4]) == OVERLOADED
    replayed.log.report()
    assert capsys.readouterr().err.count(Event.CLAIMS_FULL.value) == 1
    assert len(provider.received) == 8


@pytest.mark.usefixtures("few_claims")
async def test_a_greedy_relay_leaves_room_for_another(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    greedy, modest = (issue_token(tokens, name, datetime.now(UTC)) for name in ("greedy", "modest"))
    async with running(replace(config, tokens=tokens), identity, (authorization(greedy),)) as replayed:
        got = [await replayed.send(await replayed.seal()) for _ in range(4)]
        assert got == [None] * 2 + [OVERLOADED] * 2
        replayed.caller.metadata = (authorization(modest),)
        assert [await replayed.send(await replayed.seal()) for _ in range(2)] == [None, None]
    assert len(provider.received) == 4
