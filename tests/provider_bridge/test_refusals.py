"""Before the claim every refusal looks the same; after it a sealed error says whether the provider began."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge import exchange, exchange_opener
from blindrelay.provider_bridge.claims import ClaimMemory
from blindrelay.provider_bridge.exchange_opener import TICK_SECONDS, refusal_tick
from blindrelay.sealing import SealingKey
from blindrelay.trust import IdentityKey
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.outer_status import OuterStatus

from .conftest import Serve
from .scripted_provider import EVENT_STREAM, Script, ScriptedProvider, raw
from .sealed_caller import (
    SealedCaller,
    SealedRequest,
    collect,
    flipped,
    outer_status,
    parts,
    request_head,
    with_message,
)

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
    "too new": lambda now: {"issued_at": now // 10 * 10 + 900},
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


async def test_unknown_key_has_a_status_of_its_own_and_a_missing_message_an_end(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = with_envelope(await bridge.seal(), key_id=SealingKey.generate(10, 20).key_id)
    assert await outer_status(await bridge.send(other)) == OuterStatus.KEY_UNKNOWN.value
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


LONG = b'{"user":"' + b"a" * 1_000_000 + b'"}'


LARGE_HEAD = b"HTTP/1.1 200 OK\r\netag: " + b"x" * 40_000 + b"\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "body"),
    [
        (raw(EVENT_STREAM + b"3\r\nabc\r\n0\r\n", cut=True), b"abc"),
        (raw(EVENT_STREAM + b"3\r\nabc\r\n0\r\n", close=True), b"abc"),
        (raw(LARGE_HEAD), b""),
    ],
)
async def test_invalid_response_is_a_failure(
    bridge: SealedCaller, provider: ScriptedProvider, script: Script, body: bytes
) -> None:
    provider.script = script
    got = await bridge.exchange()
    assert (*got.failure, got.body, got.body_end) == ("PROVIDER_FAILED", "STARTED", body, 0)
    assert len(provider.received) == 1, "the bridge never asks twice"


async def test_refused_request_reaches_no_provider(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    for url, method, code in (
        ("https://api.openai.com/v1/responses", "POST", "STORED_OBJECT"),
        ("https://api.openai.com/v1/models", "GET", "NOT_ALLOWED"),
    ):
        got = await bridge.exchange(request_head(url, method))
        assert (*got.failure, got.status) == (code, "NOT_STARTED", 0)
    assert provider.connections == 0


@pytest.mark.parametrize("goes_on", [False, True])
async def test_upload_is_refused_from_its_head(
    bridge: SealedCaller, provider: ScriptedProvider, goes_on: bool
) -> None:
    request = await bridge.seal(request_head("https://api.openai.com/v1/files"), LONG * 8)
    call = await bridge.begin(request)
    response = asyncio.create_task(collect(call, request))
    for message in request.messages[1:] if goes_on else ():
        try:
            await call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            break
    assert (await response).failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert provider.connections == 0


@pytest.fixture
async def small_bridge(serve: Serve) -> AsyncIterator[SealedCaller]:
    """It has room for 128 KiB of requests, beyond the first 64 KiB of each."""
    async with serve(max_request=131_072, max_buffered=131_072) as caller:
        yield caller


async def test_body_over_the_limit_is_refused(small_bridge: SealedCaller, provider: ScriptedProvider) -> None:
    got = await small_bridge.exchange(body=b'"' + b"x" * 131_070 + b'"')
    assert got.code == "STORED_OBJECT", "a body of exactly the limit is taken, and judged"
    request = await small_bridge.seal(body=b'"' + b"x" * 131_071 + b'"')
    got = await collect(await small_bridge.begin(request, len(request.messages)), request)
    assert got.failure == ("TOO_LARGE", "NOT_STARTED")
    assert "131072 bytes" in got.message
    assert provider.connections == 0


async def test_request_holds_no_room_while_the_provider_responds(
    small_bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = raw(EVENT_STREAM)
    for _ in range(3):
        request = await small_bridge.seal(body=b'{"user":"' + b"a" * 131_000 + b'"}')
        call = await small_bridge.send(request)
        assert (await anext(parts(call, request))).head.status == 200


def altered(request: SealedRequest) -> list[bytes]:
    record = ExchangeRequest.FromString(request.messages[1]).sealed
    return with_message(request, 1, sealed=flipped(record)).messages


DAMAGES: dict[str, Callable[[SealedRequest], list[bytes]]] = {
    "cut": lambda request: request.messages[:8],
    "cut at the end": lambda request: request.messages[:-1],
    "altered": altered,
    "a second secret": lambda request: with_message(request, 1, encapsulated_secret=b"x").messages,
    "no protobuf": lambda request: [request.messages[0], b"\xff\xff"],
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_request_starts_nothing(
    bridge: SealedCaller, provider: ScriptedProvider, damage: str
) -> None:
    request = await bridge.seal(body=LONG)
    request = replace(request, messages=DAMAGES[damage](request))
    got = await collect(await bridge.send(request), request)
    assert got.failure == ("MALFORMED", "NOT_STARTED")
    assert provider.connections == 0


async def test_fault_is_sealed_without_its_text(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the canary")

    monkeypatch.setattr(exchange, "send_response", fail)
    got = await bridge.exchange()
    assert got.failure == ("INTERNAL", "STARTED")
    assert "canary" not in got.message + capsys.readouterr().err
