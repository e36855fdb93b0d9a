"""After the claim every failure is a sealed error that says whether the provider may have begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import grpc
import pytest

from blindrelay.provider_bridge import exchange
from blindrelay.v1.exchange_pb2 import ExchangeRequest

from .conftest import Serve
from .scripted_provider import EVENT_STREAM, Script, ScriptedProvider, raw
from .sealed_caller import SealedCaller, SealedRequest, collect, flipped, parts, request_head, with_message

FILES = "https://api.openai.com/v1/files"
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
    request = await bridge.seal(request_head(FILES), LONG * 8)
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
