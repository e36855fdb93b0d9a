"""What is not opened and claimed gets one outer status, whatever the cause, and nothing sealed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge import Bridge, BridgeConfig, UnclaimedError, exchange_opener
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.exchange_opener import TICK_SECONDS, refusal_tick
from blindrelay.sealing import SealingKey
from blindrelay.trust import IdentityKey
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.outer_status import OuterStatus

from .fake_provider import FakeProvider
from .sealed_caller import Call, SealedCaller, SealedRequest, collect, outer_status, with_sealed

REFUSED = OuterStatus.REFUSED.value


def seconds_from_now(offset: int) -> int:
    """An issued_at."""
    return int(time.time()) // 10 * 10 + offset


def first_record(request: SealedRequest) -> bytes:
    return ExchangeRequest.FromString(request.messages[0]).sealed


async def altered_record(caller: SealedCaller) -> SealedRequest:
    request = await caller.seal()
    sealed = first_record(request)
    return with_sealed(request, 0, sealed[:-1] + bytes([sealed[-1] ^ 1]))


async def short_record(caller: SealedCaller) -> SealedRequest:
    return with_sealed(await caller.seal(), 0, b"x" * 20)


async def no_record(caller: SealedCaller) -> SealedRequest:
    return with_sealed(await caller.seal(), 0, b"")


async def another_record(caller: SealedCaller) -> SealedRequest:
    return with_sealed(await caller.seal(), 0, first_record(await caller.seal()))


async def another_secret(caller: SealedCaller) -> SealedRequest:
    request, other = await caller.seal(), await caller.seal()
    message = ExchangeRequest(
        encapsulated_secret=ExchangeRequest.FromString(other.messages[0]).encapsulated_secret,
        sealed=first_record(request),
    )
    return replace(request, messages=[message.SerializeToString()])


async def random_secret(caller: SealedCaller) -> SealedRequest:
    request = await caller.seal()
    message = ExchangeRequest(encapsulated_secret=os.urandom(1_168), sealed=first_record(request))
    return replace(request, messages=[message.SerializeToString()])


async def short_secret(caller: SealedCaller) -> SealedRequest:
    request = await caller.seal()
    message = ExchangeRequest(encapsulated_secret=b"x", sealed=first_record(request))
    return replace(request, messages=[message.SerializeToString()])


async def no_secret(caller: SealedCaller) -> SealedRequest:
    request = await caller.seal()
    message = ExchangeRequest(sealed=first_record(request))
    return replace(request, messages=[message.SerializeToString()])


async def no_message(caller: SealedCaller) -> SealedRequest:
    return replace(await caller.seal(), messages=[])


async def empty_message(caller: SealedCaller) -> SealedRequest:
    return replace(await caller.seal(), messages=[b""])


async def no_protobuf(caller: SealedCaller) -> SealedRequest:
    return replace(await caller.seal(), messages=[b"\xff\xff\xff"])


async def another_envelope(caller: SealedCaller) -> SealedRequest:
    """The relay asks for more units than the client allowed."""
    request = await caller.seal()
    envelope = Envelope.FromString(request.envelope)
    envelope.max_units = 2_000_000
    return replace(request, envelope=envelope.SerializeToString(deterministic=True))


async def a_new_exchange_id(caller: SealedCaller) -> SealedRequest:
    """The relay tries to make one request two."""
    request = await caller.seal()
    envelope = Envelope.FromString(request.envelope)
    envelope.exchange_id = os.urandom(16)
    return replace(request, envelope=envelope.SerializeToString(deterministic=True))


async def empty_envelope(caller: SealedCaller) -> SealedRequest:
    return replace(await caller.seal(), envelope=b"")


async def envelope_with_unknown_field(caller: SealedCaller) -> SealedRequest:
    request = await caller.seal()
    return replace(request, envelope=request.envelope + b"\x7a\x01x")


async def huge_envelope(caller: SealedCaller) -> SealedRequest:
    return replace(await caller.seal(), envelope=b"\x12" * 600)


async def foreign_identity(caller: SealedCaller) -> SealedRequest:
    return await caller.seal(identity=IdentityKey.generate().public_key)


async def too_old(caller: SealedCaller) -> SealedRequest:
    return await caller.seal(issued_at=seconds_from_now(-320))


async def too_new(caller: SealedCaller) -> SealedRequest:
    return await caller.seal(issued_at=seconds_from_now(320))


async def after_the_keys_end(caller: SealedCaller) -> SealedRequest:
    key = (await caller.directory()).keys[0]
    return await caller.seal(issued_at=key.not_after + 10)


async def a_replay(caller: SealedCaller) -> SealedRequest:
    request = await caller.seal()
    await collect(await caller.send(request), request)
    return request


CAUSES: list[Callable[[SealedCaller], Awaitable[SealedRequest]]] = [
    altered_record,
    short_record,
    no_record,
    another_record,
    another_secret,
    random_secret,
    short_secret,
    no_secret,
    no_message,
    empty_message,
    no_protobuf,
    another_envelope,
    a_new_exchange_id,
    empty_envelope,
    envelope_with_unknown_field,
    huge_envelope,
    foreign_identity,
    too_old,
    too_new,
    after_the_keys_end,
    a_replay,
]


@given(st.floats(0, 1e8), st.floats(0, TICK_SECONDS))
def test_what_comes_in_one_step_is_refused_on_one_tick(began: float, later: float) -> None:
    tick = refusal_tick(began)
    assert TICK_SECONDS - 1e-6 <= tick - began < 2 * TICK_SECONDS + 1e-6
    next_tick = refusal_tick(began + later)
    assert any(abs(next_tick - each) < 1e-6 for each in (tick, tick + TICK_SECONDS))


@pytest.mark.parametrize("cause", CAUSES)
async def test_every_cause_looks_the_same(
    bridge: SealedCaller,
    provider: FakeProvider,
    cause: Callable[[SealedCaller], Awaitable[SealedRequest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = await cause(bridge)
    provider.received.clear()
    ticks: list[float] = []

    def late_tick(since: float) -> float:
        ticks.append(refusal_tick(since) + 0.2)
        return ticks[-1]

    monkeypatch.setattr(exchange_opener, "refusal_tick", late_tick)
    call = await bridge.send(request)
    assert await outer_status(call) == REFUSED
    (tick,) = ticks
    assert asyncio.get_running_loop().time() >= tick, "it waits for its tick, so that time tells nothing"
    assert [key for key, _ in await call.trailing_metadata() or ()] == []
    assert provider.received == []


async def test_envelopes_that_are_missing_or_doubled(bridge: SealedCaller) -> None:
    request = await bridge.seal()
    for metadata in ((), ((METADATA_KEY, request.envelope), (METADATA_KEY, request.envelope))):
        call: Call = bridge.channel.stream_stream("/blindrelay.v1.ExchangeService/Exchange")(
            metadata=metadata
        )
        await call.write(request.messages[0])
        assert await outer_status(call) == REFUSED


async def test_a_key_that_is_not_held_is_a_status_of_its_own(bridge: SealedCaller) -> None:
    request = await bridge.seal()
    envelope = Envelope.FromString(request.envelope)
    envelope.key_id = SealingKey.generate(10, 20).key_id
    other = replace(request, envelope=envelope.SerializeToString(deterministic=True))
    assert await outer_status(await bridge.send(other)) == OuterStatus.KEY_UNKNOWN.value


async def test_of_many_copies_one_is_answered(bridge: SealedCaller, provider: FakeProvider) -> None:
    request = await bridge.seal()
    calls = await asyncio.gather(*(bridge.send(request) for _ in range(20)))
    results = await asyncio.gather(*(read_all(call) for call in calls))
    assert sorted(count for count, _ in results) == [0] * 19 + [1]
    assert {status for count, status in results if not count} == {REFUSED}
    assert len(provider.received) == 1


async def read_all(call: Call) -> tuple[int, tuple[grpc.StatusCode, str | None]]:
    """How many records came, and the status after them."""
    count = 0
    try:
        while await call.read() is not grpc.aio.EOF:
            count += 1
    except grpc.aio.AioRpcError:
        pass
    return count, (await call.code(), await call.details())


async def test_a_restart_opens_no_door(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider
) -> None:
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        request = await caller.seal()
        await collect(await caller.send(request), request)
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        assert await outer_status(await caller.send(request)) == OuterStatus.KEY_UNKNOWN.value
        assert (await caller.exchange()).status == 200
    assert len(provider.received) == 2


async def test_what_cannot_be_claimed_is_refused(
    bridge: SealedCaller, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim_nothing(*_: object) -> None:
        raise UnclaimedError

    monkeypatch.setattr(ClaimMemory, "claim", claim_nothing)
    assert await outer_status(await bridge.send(await bridge.seal())) == REFUSED
    assert provider.received == []


@pytest.mark.parametrize("cause", [SealedCaller.seal, *CAUSES])
async def test_without_room_every_exchange_looks_the_same(
    bridge: SealedCaller,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    cause: Callable[[SealedCaller], Awaitable[SealedRequest]],
) -> None:
    """What is said of the memory is no word about the exchange: it is not looked at."""
    request = await cause(bridge)
    provider.received.clear()
    monkeypatch.setattr(ClaimMemory, "has_room", lambda *_: False)
    monkeypatch.setattr(exchange_opener, "decapsulate", lambda *_: pytest.fail("it was opened"))
    assert await outer_status(await bridge.send(request)) == OuterStatus.OVERLOADED.value
    assert provider.received == []


async def test_a_call_without_a_first_message_ends(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_opener, "RECORD_SECONDS", 0.05)
    async with asyncio.timeout(10):
        assert await outer_status(bridge.start(await bridge.seal())) == REFUSED


async def test_a_fault_leaves_without_its_words(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the canary")

    monkeypatch.setattr(exchange_opener, "envelope_from_metadata", fail)
    assert await outer_status(await bridge.send(await bridge.seal())) == OuterStatus.INTERNAL.value
    assert "canary" not in capsys.readouterr().err


async def test_clocks_within_the_window_are_served(bridge: SealedCaller) -> None:
    request = await bridge.seal(issued_at=seconds_from_now(290))
    assert (await collect(await bridge.send(request), request)).status == 200
    request = await bridge.seal(issued_at=seconds_from_now(-280))
    assert (await collect(await bridge.send(request), request)).code == "DEADLINE", "opened, and too late"
