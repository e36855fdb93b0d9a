"""Shaped responses: whatever happens, cells have one size and a clock (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from blindrelay.provider_bridge.policy import shaping
from blindrelay.provider_bridge.policy.shaping import expects_events
from blindrelay.sealing import BALANCED, STRICT
from blindrelay.v1.exchange_pb2 import ExchangeResponse
from blindrelay.v1.inner_pb2 import SHAPING_PROFILE_BALANCED, SHAPING_PROFILE_OFF, Shaping

from .scripted_provider import EVENT_STREAM, LAST_CHUNK, Connection, Script, ScriptedProvider, raw, response
from .sealed_caller import Response, SealedCaller, SealedRequest, parts, request_head

FAST = replace(BALANCED, tick=5, grid=5)
SHAPED = Shaping(profile=SHAPING_PROFILE_BALANCED)
ASKED = b'{"model":"m","messages":[],"stream":true}'
EVENTS = b"".join(b'data: {"n": %d}\n\n' % number for number in range(30))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell each five milliseconds: the other rules are the same."""
    monkeypatch.setitem(shaping._SHAPES, SHAPING_PROFILE_BALANCED, FAST)


def events(body: bytes = EVENTS) -> Script:
    return raw(EVENT_STREAM + b"%x\r\n%s\r\n" % (len(body), body) + LAST_CHUNK)


async def shaped(bridge: SealedCaller, body: bytes = ASKED) -> tuple[Response, list[int]]:
    """A whole response, and the size of each record."""
    request = await bridge.seal(request_head(shaping=SHAPED), body)
    return await _collected(bridge, request)


async def _collected(bridge: SealedCaller, request: SealedRequest) -> tuple[Response, list[int]]:
    call, got, sizes = await bridge.send(request), Response(), list[int]()
    read = call.read

    async def noted() -> object:
        message = await read()
        if isinstance(message, bytes):
            sizes.append(len(ExchangeResponse.FromString(message).sealed))
        return message

    call.read = noted  # type: ignore[method-assign]
    async for part in parts(call, request):
        got.take(part)
    return got, sizes


def assert_usual(got: Response, sizes: list[int]) -> None:
    """Cells of the first size, as many as the one with the end needs."""
    assert sizes == [512] * FAST.padded_count(got.end_record)


STORED = b'{"model":"m","messages":[],"stream":true,"store":true}'


@pytest.mark.parametrize(
    ("script", "body", "outcome"),
    [
        (events(), ASKED, (200, EVENTS, "")),
        (events(b""), ASKED, (200, b"", "")),
        (response(b'{"error":{}}', status=b"429 Too Many Requests"), ASKED, (429, b'{"error":{}}', "")),
        (raw(EVENT_STREAM + b"3\r\nabc\r\n", cut=True), ASKED, (200, b"abc", "PROVIDER_FAILED")),
        (raw(b"nonsense"), ASKED, (0, b"", "PROVIDER_FAILED")),
        (events(), STORED, (0, b"", "STORED_OBJECT")),
    ],
    ids=["whole", "empty", "error status", "cut", "no http", "refused"],
)
async def test_every_outcome_has_the_same_cells(
    bridge: SealedCaller, provider: ScriptedProvider, script: Script, body: bytes, outcome: object
) -> None:
    provider.script = script
    got, sizes = await shaped(bridge, body)
    assert (got.status, got.body, got.code) == outcome
    assert_usual(got, sizes)


async def test_cells_come_before_the_provider_responds(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    release = asyncio.Event()

    async def script(connection: Connection) -> None:
        await release.wait()
        await events()(connection)

    provider.script = script
    request = await bridge.seal(request_head(shaping=SHAPED), ASKED)
    received = parts(await bridge.send(request), request)
    assert [(await anext(received)).ListFields() for _ in range(10)] == [[]] * 10
    release.set()
    assert b"".join([part.body async for part in received]) == EVENTS


async def test_large_stream_comes_whole_in_larger_cells(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    body = b"".join(b"data: %d\n\n" % (number * 7_919 % 100_003) for number in range(40_000))
    provider.script = events(body)
    got, sizes = await shaped(bridge)
    assert got.body == body
    assert sizes == sorted(sizes)
    assert {512, 4_096} <= set(sizes) <= {512, 4_096, 32_768}
    assert all(sizes.count(size) % 8 == 0 for size in set(sizes))
    assert len(sizes) == FAST.padded_count(got.end_record)


async def test_client_that_leaves_ends_the_providers_call(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    gone = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.send(EVENT_STREAM)
        await connection.gone()
        gone.set()

    provider.script = script
    request = await bridge.seal(request_head(shaping=SHAPED), ASKED)
    call = await bridge.send(request)
    received = parts(call, request)
    while not (await anext(received)).HasField("head"):
        pass
    call.cancel()
    await gone.wait()


async def test_provider_is_done_when_the_response_has_ended(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is free while the last cells are sent."""
    slow = replace(FAST, tick=20)
    monkeypatch.setitem(shaping._SHAPES, SHAPING_PROFILE_BALANCED, slow)
    provider.script = events()
    request = await bridge.seal(request_head(shaping=SHAPED), ASKED)
    received = parts(await bridge.send(request), request)
    while not (await anext(received)).HasField("tail"):
        pass
    assert (await bridge.exchange()).status == 200
    assert len(provider.received) == 2
    assert provider.connections == 1
    assert [part.ListFields() async for part in received][-1] == []


async def test_event_stream_that_was_not_expected_comes_in_cells(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = events()
    got, sizes = await shaped(bridge, b"{}")
    assert got.body == EVENTS
    assert_usual(got, sizes)


@pytest.mark.parametrize(
    ("script", "body", "code"),
    [(response(b'{"ok":true}'), b"{}", ""), (response(), b'{"store":true}', "STORED_OBJECT")],
    ids=["whole", "refused"],
)
async def test_other_response_is_one_padded_record(
    bridge: SealedCaller, provider: ScriptedProvider, script: Script, body: bytes, code: str
) -> None:
    provider.script = script
    got, sizes = await shaped(bridge, body)
    assert (got.code, sizes) == (code, [4_096])


async def test_unshaped_response_has_a_record_for_its_events(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = events()
    request = await bridge.seal(request_head(shaping=Shaping(profile=SHAPING_PROFILE_OFF)), ASKED)
    got, sizes = await _collected(bridge, request)
    assert got.body == EVENTS
    assert sum(sizes) == 4_096


@pytest.mark.parametrize(
    ("target", "headers", "body", "expected"),
    [
        (b"/v1/chat/completions", [], ASKED, True),
        (b"/v1/chat/completions", [], b'{"messages":' + bytes(10_000) + b', "stream" : true}', True),
        (b"/v1/chat/completions", [], b'{"stream":false}', False),
        (b"/v1/chat/completions", [], rb'{"a":"say \"stream\": true"}', False),
        (b"/v1/models/m:streamGenerateContent", [], b"{}", True),
        (b"/v1/models", [(b"accept", b"text/event-stream")], b"", True),
        (b"/v1/models", [(b"accept", b"*/*")], b"", False),
    ],
)
def test_event_stream_is_expected(
    target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, expected: bool
) -> None:
    assert expects_events(target, headers, bytearray(body)) is expected


def test_shapes_of_the_profiles() -> None:
    """The table of section 9.6."""
    assert (BALANCED.tick, BALANCED.sizes, BALANCED.run, BALANCED.grid) == (100, (512, 4_096, 32_768), 8, 100)
    assert (STRICT.tick, STRICT.sizes, STRICT.run, STRICT.grid) == (250, (1_536, 12_288, 65_536), 16, 1_000)
