"""What is not opened and claimed gets one outer status, whatever the cause, and nothing sealed."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge import exchange_opener
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.exchange_opener import TICK_SECONDS, refusal_tick
from blindrelay.sealing import SealingKey
from blindrelay.trust import IdentityKey
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD
from blindrelay.v1.outer_status import OuterStatus

from .scripted_provider import ScriptedProvider
from .sealed_caller import Call, SealedCaller, SealedRequest, flipped, outer_status, with_message

REFUSED = OuterStatus.REFUSED.value


def with_envelope(request: SealedRequest, **fields: Any) -> SealedRequest:
    """The request with fields of its envelope replaced, as a relay could."""
    envelope = Envelope.FromString(request.envelope)
    for name, value in fields.items():
        setattr(envelope, name, value)
    return replace(request, envelope=envelope.SerializeToString(deterministic=True))


def record_of(request: SealedRequest) -> bytes:
    return ExchangeRequest.FromString(request.messages[0]).sealed


def mixed(request: SealedRequest, other: SealedRequest, field: str) -> SealedRequest:
    first = ExchangeRequest.FromString(other.messages[0])
    return with_message(request, 0, **{field: getattr(first, field)})


Change = Callable[[SealedRequest, SealedRequest], SealedRequest]
CHANGED: dict[str, Change] = {
    "altered record": lambda r, _: with_message(
        r, 0, sealed=flipped(ExchangeRequest.FromString(r.messages[0]).sealed)
    ),
    "short record": lambda r, _: with_message(r, 0, sealed=b"x" * 20),
    "another record": lambda r, other: mixed(r, other, "sealed"),
    "another secret": lambda r, other: mixed(r, other, "encapsulated_secret"),
    "random secret": lambda r, _: with_message(r, 0, encapsulated_secret=os.urandom(1_168)),
    "short secret": lambda r, _: with_message(r, 0, encapsulated_secret=b"x"),
    "no message": lambda r, _: replace(r, messages=[]),
    "empty message": lambda r, _: replace(r, messages=[b""]),
    "no protobuf": lambda r, _: replace(r, messages=[b"\xff\xff\xff"]),
    "more units": lambda r, _: with_envelope(r, max_units=2_000_000),
    "a second exchange_id": lambda r, _: with_envelope(r, exchange_id=os.urandom(16)),
    "empty envelope": lambda r, _: replace(r, envelope=b""),
    "unknown field in the envelope": lambda r, _: replace(r, envelope=r.envelope + b"\x7a\x01x"),
    "huge envelope": lambda r, _: replace(r, envelope=b"\x12" * 600),
}
SEALED: dict[str, Callable[[int], dict[str, Any]]] = {
    "another identity": lambda _: {"identity": IdentityKey.generate().public_key},
    "too old": lambda now: {"issued_at": now // 10 * 10 - 320},
    "too new": lambda now: {"issued_at": now // 10 * 10 + 320},
    "replay": lambda _: {},
}


async def refused_request(caller: SealedCaller, cause: str) -> SealedRequest:
    if cause in CHANGED:
        return CHANGED[cause](await caller.seal(), await caller.seal())
    request = await caller.seal(**SEALED[cause](int(time.time())))
    if cause == "replay":
        await caller.complete(request)
    return request


@given(st.floats(0, 1e8), st.floats(0, TICK_SECONDS))
def test_refusals_of_one_step_share_a_tick(began: float, later: float) -> None:
    tick = refusal_tick(began)
    assert TICK_SECONDS - 1e-6 <= tick - began < 2 * TICK_SECONDS + 1e-6
    next_tick = refusal_tick(began + later)
    assert any(abs(next_tick - each) < 1e-6 for each in (tick, tick + TICK_SECONDS))


@pytest.mark.parametrize("cause", [*CHANGED, *SEALED])
async def test_every_cause_looks_the_same(
    bridge: SealedCaller, provider: ScriptedProvider, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await refused_request(bridge, cause)
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
    assert list(await call.trailing_metadata() or ()) == []
    assert provider.received == []


async def test_without_room_every_exchange_looks_the_same(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status is about the memory. It says nothing about the exchange, which stays closed."""
    valid = await bridge.seal()
    refused = [await refused_request(bridge, cause) for cause in ("no protobuf", "huge envelope", "replay")]
    provider.received.clear()
    with monkeypatch.context() as full:
        full.setattr(ClaimMemory, "has_room", lambda *_: False)
        for request in (valid, *refused):
            assert await outer_status(await bridge.send(request)) == OuterStatus.OVERLOADED.value
    assert provider.received == []
    assert (await bridge.complete(valid)).status == 200, "it was not claimed"


async def test_envelope_is_given_once(bridge: SealedCaller) -> None:
    request = await bridge.seal()
    for count in (0, 2):
        metadata = ((METADATA_KEY, request.envelope),) * count
        call: Call = bridge.channel.stream_stream(EXCHANGE_METHOD)(metadata=metadata)
        await call.write(request.messages[0])
        assert await outer_status(call) == REFUSED


async def test_unknown_key_has_a_status_of_its_own(bridge: SealedCaller) -> None:
    other = with_envelope(await bridge.seal(), key_id=SealingKey.generate(10, 20).key_id)
    assert await outer_status(await bridge.send(other)) == OuterStatus.KEY_UNKNOWN.value


async def test_call_without_a_first_message_ends(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_opener, "RECORD_SECONDS", 0.05)
    assert await outer_status(bridge.start(await bridge.seal())) == REFUSED


async def test_fault_leaves_without_its_text(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the canary")

    monkeypatch.setattr(exchange_opener, "envelope_from_metadata", fail)
    assert await outer_status(await bridge.send(await bridge.seal())) == OuterStatus.INTERNAL.value
    assert "canary" not in capsys.readouterr().err
