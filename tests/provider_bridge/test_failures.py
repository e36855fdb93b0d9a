"""After the claim every failure is a sealed error that says whether the provider may have begun."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import grpc
import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, exchange
from blindrelay.trust import IdentityKey
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT

from .fake_provider import EVENT_STREAM, FakeProvider, raw
from .sealed_caller import SealedCaller, collect, request_head, with_sealed

LONG = b'{"user":"' + b"a" * 1_000_000 + b'"}'


@pytest.mark.parametrize(
    ("data", "execution", "body"),
    [
        (b"", "UNKNOWN", b""),
        (b"HTTP/1.1 200", "UNKNOWN", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-len", "UNKNOWN", b""),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "UNKNOWN", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "UNKNOWN", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", "UNKNOWN", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "STARTED", b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "STARTED", b"abc"),
        (EVENT_STREAM, "STARTED", b""),
        (EVENT_STREAM + b"3\r\nabc\r\n", "STARTED", b"abc"),
        (EVENT_STREAM + b"3\r\nabc\r\n0\r\n", "STARTED", b"abc"),
        (EVENT_STREAM + b"3\r\nabc\r\nxyz\r\n", "STARTED", b"abc"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "UNKNOWN", b""),
        (b"HTTP/1.1 700 What\r\ncontent-length: 0\r\n\r\n", "STARTED", b""),
    ],
)
@pytest.mark.parametrize("cut", [True, False])
async def test_a_provider_that_breaks_off(
    bridge: SealedCaller, provider: FakeProvider, data: bytes, execution: str, body: bytes, cut: bool
) -> None:
    provider.script = raw(data, cut=cut, close=not cut)
    got = await bridge.exchange()
    assert (got.code, got.execution, got.body) == ("PROVIDER_FAILED", execution, body)
    assert got.body_end == 0
    assert len(provider.received) == 1, "the bridge never asks twice"


async def test_headers_that_are_too_long(bridge: SealedCaller, provider: FakeProvider) -> None:
    etag = b"etag: " + b"x" * 40_000
    provider.script = raw(b"HTTP/1.1 200 OK\r\n" + etag + b"\r\ncontent-length: 0\r\n\r\n")
    got = await bridge.exchange()
    assert (got.code, got.execution) == ("PROVIDER_FAILED", "STARTED")
    assert "headers" in got.message


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"retry_token": b"x"}, "UNSUPPORTED"),
        ({"url": "https://other.example/v1/chat/completions"}, "NOT_ALLOWED"),
        ({"url": "https://api.openai.com/v1/responses"}, "STORED_OBJECT"),
        ({"headers": {b"cookie": b"x"}}, "NOT_ALLOWED"),
    ],
)
async def test_a_request_that_is_refused(
    bridge: SealedCaller, provider: FakeProvider, fields: dict[str, Any], code: str
) -> None:
    got = await bridge.exchange(request_head(**fields))
    assert (got.code, got.execution, got.status) == (code, "NOT_STARTED", 0)
    assert provider.connections == 0


async def test_a_large_upload_is_refused_from_its_head(bridge: SealedCaller, provider: FakeProvider) -> None:
    request = await bridge.seal(request_head("https://api.openai.com/v1/files"), LONG)
    call = bridge.start(request)
    await call.write(request.messages[0])
    got = await collect(call, request)
    assert (got.code, got.execution) == ("NOT_ALLOWED", "NOT_STARTED")
    assert provider.connections == 0


async def test_a_refusal_is_heard_while_the_upload_goes_on(bridge: SealedCaller) -> None:
    request = await bridge.seal(request_head("https://api.openai.com/v1/files"), LONG * 8)
    call = bridge.start(request)
    answer = asyncio.create_task(collect(call, request))
    for message in request.messages:
        try:
            await call.write(message)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            break
    assert (await answer).code == "NOT_ALLOWED"


@pytest.fixture
async def small_bridge(config: BridgeConfig, identity: IdentityKey) -> Any:
    """A bridge with room for 128 KiB of requests, beyond the first 64 KiB of each."""
    config = replace(config, max_request=131_072, max_buffered=131_072)
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        yield caller


async def test_a_body_over_the_limit(small_bridge: SealedCaller, provider: FakeProvider) -> None:
    got = await small_bridge.exchange(body=b'"' + b"x" * 131_070 + b'"')
    assert got.code == "STORED_OBJECT", "a body of exactly the limit is taken, and judged"
    request = await small_bridge.seal(body=b'"' + b"x" * 131_071 + b'"')
    call = small_bridge.start(request)
    for message in request.messages:
        await call.write(message)
    got = await collect(call, request)
    assert (got.code, got.execution) == ("TOO_LARGE", "NOT_STARTED")
    assert "131072 bytes" in got.message
    assert provider.connections == 0


async def test_requests_that_do_not_fit_together(small_bridge: SealedCaller, provider: FakeProvider) -> None:
    body = b'{"user":"' + b"a" * 131_000 + b'"}'
    held = [await small_bridge.seal(body=body) for _ in range(2)]
    waiting = [small_bridge.start(request) for request in held]
    for call, request in zip(waiting, held, strict=True):
        for message in request.messages[:-1]:
            await call.write(message)
    async with asyncio.timeout(20):
        while (got := await small_bridge.exchange(body=body)).code != "OVERLOADED":
            assert got.status == 200, "the others are still on their way"
    assert got.execution == "NOT_STARTED"
    assert (await small_bridge.exchange()).status == 200, "a small one always finds room"
    for call in waiting:
        call.cancel()
    await asyncio.sleep(0.1)
    assert (await small_bridge.exchange(body=body)).status == 200, "its room was given back"


async def test_a_request_that_is_cut(bridge: SealedCaller, provider: FakeProvider) -> None:
    request = await bridge.seal(body=LONG)
    for sent in range(1, len(request.messages)):
        request = await bridge.seal(body=LONG)
        call = bridge.start(request)
        for message in request.messages[:sent]:
            await call.write(message)
        await call.done_writing()
        got = await collect(call, request)
        assert (got.code, got.execution) == ("MALFORMED", "NOT_STARTED")
    assert provider.connections == 0


async def test_a_client_that_goes_away_in_its_request_starts_nothing(
    bridge: SealedCaller, provider: FakeProvider
) -> None:
    request = await bridge.seal(body=LONG)
    call = bridge.start(request)
    for message in request.messages[:-1]:
        await call.write(message)
    call.cancel()
    await asyncio.sleep(0.2)
    assert provider.connections == 0


@pytest.mark.parametrize("damage", ["altered", "swapped", "repeated", "second_secret", "no_protobuf"])
async def test_a_request_that_is_damaged_on_its_way(
    bridge: SealedCaller, provider: FakeProvider, damage: str
) -> None:
    request = await bridge.seal(body=LONG)
    second = ExchangeRequest.FromString(request.messages[1]).sealed
    if damage == "altered":
        request = with_sealed(request, 1, second[:-1] + bytes([second[-1] ^ 1]))
    elif damage == "swapped":
        request.messages[1], request.messages[2] = request.messages[2], request.messages[1]
    elif damage == "repeated":
        request.messages.insert(1, request.messages[1])
    elif damage == "second_secret":
        message = ExchangeRequest(encapsulated_secret=b"x", sealed=second)
        request.messages[1] = message.SerializeToString()
    else:
        request.messages[1] = b"\xff\xff"
    call = bridge.start(request)
    for message_bytes in request.messages[:3]:
        await call.write(message_bytes)
    got = await collect(call, request)
    assert (got.code, got.execution) == ("MALFORMED", "NOT_STARTED")
    assert provider.connections == 0


async def test_a_fault_of_the_bridge_is_sealed_and_not_described(
    bridge: SealedCaller,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the canary")

    monkeypatch.setattr(exchange, "send_response", fail)
    got = await bridge.exchange()
    assert (got.code, got.execution) == ("INTERNAL", "STARTED")
    assert "canary" not in got.message
    assert "canary" not in capsys.readouterr().err


async def test_large_bodies_are_checked_beside_the_loop(bridge: SealedCaller, provider: FakeProvider) -> None:
    got = await bridge.exchange(body=b'{"store":true,"user":"' + b"a" * 200_000 + b'"}')
    assert got.code == "STORED_OBJECT"
    assert (await bridge.exchange(body=LONG)).status == 200
    assert provider.received[0].body == LONG


async def test_an_upload_arrives_whole(bridge: SealedCaller, provider: FakeProvider) -> None:
    body = bytes(range(256)) * 16_384
    head = request_head("https://api.openai.com/v1/files", credential=CREDENTIAL_BROUGHT)
    assert (await bridge.exchange(head, body)).status == 200
    assert provider.received[0].body == body
