"""A repeated exchange is refused with one provider call made, whatever the clock, memory and process do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.provider_bridge import AuditLog, Event, Outcome, bridge, clock
from blindrelay.serving import authorization, issue_token
from blindrelay.trust import DirectoryError, IdentityKey
from blindrelay.v1.outer_status import OuterStatus

from .conftest import Serve
from .replica import FakeTime, W
from .scripted_provider import ScriptedProvider
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
    log: AuditLog

    async def seal(self, ahead: int = 0) -> SealedRequest:
        return await self.caller.seal(issued_at=int(self.time.clock.now()) + ahead)

    async def send(self, request: SealedRequest) -> Outer | None:
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


@pytest.mark.parametrize("steps", [[-W - 1], [W, -W], [10 * EPOCH, -10 * EPOCH]])
async def test_steps_of_the_clock_let_nothing_in_again(
    serve: Serve, provider: ScriptedProvider, steps: list[int]
) -> None:
    async with running(serve) as replayed:
        request = await replayed.seal()
        assert [await replayed.send(request) for _ in range(2)] == [None, REFUSED]
        for step in steps:
            replayed.time.wall += step
            for pause in (0, W, 1):
                replayed.time.advance(pause)
                assert await replayed.send(request) in (REFUSED, KEY_UNKNOWN)
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
