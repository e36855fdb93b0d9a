"""Whole exchanges through the real core and the real gRPC server: what reaches the provider."""

from __future__ import annotations

import asyncio

import pytest

from blindrelay.provider_bridge import BridgeConfig
from blindrelay.v1.inner_pb2 import BODY_END_LENGTH, CREDENTIAL_BROUGHT

from .conftest import Serve, provider_at
from .scripted_provider import Connection, ScriptedProvider, response
from .sealed_caller import CHAT, SealedCaller, request_head

JSON = b"content-type: application/json\r\n"


async def test_small_exchange_is_one_record_each_way(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = response(b'{"ok":true}', headers=JSON)
    request = await bridge.seal(body=b'{"model":"m"}')
    assert len(request.messages) == 1
    got = await bridge.complete(request)
    assert (got.status, got.body, got.body_end, got.records) == (200, b'{"ok":true}', BODY_END_LENGTH, 1)
    assert got.headers == {"content-type": "application/json", "content-length": "11"}


async def test_request_reaches_the_provider(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    headers = {b"content-type": b"application/json", b"accept": b"text/event-stream", b"openai-beta": b"\xe4"}
    await bridge.exchange(request_head(CHAT + "?alt=%2F&after=x:y@z", headers=headers), b'{"n": 1}')
    (received,) = provider.received
    assert received.request_line == b"POST /v1/chat/completions?alt=%2F&after=x:y@z HTTP/1.1"
    assert received.headers == [
        (b"host", b"127.0.0.1:%d" % provider.port),
        (b"accept", b"text/event-stream"),
        (b"accept-encoding", b"identity"),
        (b"authorization", b"Bearer sk-bridge"),
        (b"content-length", b"8"),
        (b"content-type", b"application/json"),
        (b"openai-beta", b"\xe4"),
        (b"user-agent", b"blindrelay"),
    ]
    assert received.body == b'{"n": 1}'


async def test_brought_credential_is_the_only_one_and_the_path_is_unchanged(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    url = "https://api.anthropic.com/v1/files/a%20b%3Ac;x=(1)/~'!$&*+,=@"
    headers = {b"x-api-key": b"mine"}
    await bridge.exchange(request_head(url, "GET", headers=headers, credential=CREDENTIAL_BROUGHT), b"")
    (received,) = provider.received
    assert received.request_line == b"GET /v1/files/a%20b%3Ac;x=(1)/~'!$&*+,=@ HTTP/1.1"
    assert received.named[b"x-api-key"] == b"mine"
    assert b"content-length" not in received.named
    assert b"sk-bridge" not in b"".join(value for _, value in received.headers)


async def test_proxies_of_the_environment_are_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serve() as caller:
        assert (await caller.exchange()).status == 200


async def test_provider_that_comes_back_is_reached_at_once(serve: Serve, config: BridgeConfig) -> None:
    provider = ScriptedProvider()
    async with provider.serving():
        providers = (provider_at(provider.origin),)
    async with serve(providers=providers) as caller:
        async with provider.serving():
            assert (await caller.exchange()).status == 200
        assert (await caller.exchange()).failure == ("PROVIDER_UNREACHABLE", "NOT_STARTED")
        async with provider.serving():
            assert (await caller.exchange()).status == 200


async def test_many_exchanges_share_one_channel(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    everybody = asyncio.Barrier(80)

    async def script(connection: Connection) -> None:
        await everybody.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    provider.script = script
    responses = await asyncio.gather(*(bridge.exchange() for _ in range(80)))
    assert {got.status for got in responses} == {200}
