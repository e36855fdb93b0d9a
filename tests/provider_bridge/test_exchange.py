"""Whole exchanges through the real core and the real gRPC server: what arrives at the provider."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig
from blindrelay.sealing import OpenError
from blindrelay.trust import IdentityKey
from blindrelay.v1.inner_pb2 import (
    BODY_END_LENGTH,
    CREDENTIAL_BROUGHT,
)

from .fake_provider import Connection, FakeProvider, Received, answer
from .sealed_caller import CHAT, SealedCaller, collect, request_head

JSON = b"content-type: application/json\r\n"


async def test_a_small_exchange_is_one_record_each_way(bridge: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(b'{"ok":true}', headers=JSON)
    request = await bridge.seal(body=b'{"model":"m"}')
    assert len(request.messages) == 1
    got = await collect(await bridge.send(request), request)
    assert (got.status, got.body, got.body_end, got.records) == (200, b'{"ok":true}', BODY_END_LENGTH, 1)
    assert got.headers == {"content-type": "application/json", "content-length": "11"}


async def test_what_arrives_at_the_provider(bridge: SealedCaller, provider: FakeProvider) -> None:
    headers = {
        b"content-type": b"application/json",
        b"accept": b"text/event-stream",
        b"openai-beta": b"\xe4",
    }
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


async def test_a_path_arrives_byte_for_byte(bridge: SealedCaller, provider: FakeProvider) -> None:
    url = "https://api.openai.com/v1/files/a%20b%3Ac;x=(1)/~'!$&*+,=@"
    await bridge.exchange(request_head(url, "GET", credential=CREDENTIAL_BROUGHT), b"")
    assert provider.received[0].request_line == b"GET /v1/files/a%20b%3Ac;x=(1)/~'!$&*+,=@ HTTP/1.1"
    assert b"content-length" not in provider.received[0].named


async def test_a_brought_credential_is_the_only_one(bridge: SealedCaller, provider: FakeProvider) -> None:
    headers = {b"x-api-key": b"mine", b"content-type": b"text/plain"}
    head = request_head("https://api.anthropic.com/v1/files", headers=headers, credential=CREDENTIAL_BROUGHT)
    await bridge.exchange(head, b"anything")
    assert provider.received[0].named[b"x-api-key"] == b"mine"
    assert b"sk-bridge" not in b"".join(value for _, value in provider.received[0].headers)


@pytest.mark.parametrize(
    ("url", "header", "value"),
    [
        (CHAT, b"authorization", b"Bearer sk-bridge"),
        ("https://api.anthropic.com/v1/messages", b"x-api-key", b"sk-bridge"),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent",
            b"x-goog-api-key",
            b"sk-bridge",
        ),
    ],
)
async def test_each_provider_gets_its_own_credential(
    bridge: SealedCaller, provider: FakeProvider, url: str, header: bytes, value: bytes
) -> None:
    await bridge.exchange(request_head(url))
    assert provider.received[0].named[header] == value


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_proxies_of_the_environment_are_not_used(
    config: BridgeConfig,
    identity: IdentityKey,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        assert (await caller.exchange()).status == 200


async def test_connections_are_used_again(bridge: SealedCaller, provider: FakeProvider) -> None:
    for _ in range(5):
        await bridge.exchange()
    assert provider.connections == 1


async def test_a_provider_that_comes_back_is_reached_at_once(
    config: BridgeConfig, identity: IdentityKey
) -> None:
    provider = FakeProvider()
    async with provider.serving():
        target = replace(config.providers[0].target, port=provider.port)
        config = replace(config, providers=(replace(config.providers[0], target=target),))
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        async with provider.serving():
            assert (await caller.exchange()).status == 200
        got = await caller.exchange()
        assert (got.code, got.execution) == ("PROVIDER_UNREACHABLE", "NOT_STARTED")
        async with provider.serving():
            assert (await caller.exchange()).status == 200


async def test_many_exchanges_share_one_channel(bridge: SealedCaller, provider: FakeProvider) -> None:
    begun = 0
    everybody = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        nonlocal begun
        begun += 1
        if begun == 80:
            everybody.set()
        await everybody.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    provider.script = script
    answers = await asyncio.gather(*(bridge.exchange() for _ in range(80)))
    assert {got.status for got in answers} == {200}


async def test_an_answer_opens_in_its_own_exchange_only(bridge: SealedCaller) -> None:
    request, other = await bridge.seal(), await bridge.seal()
    call = await bridge.send(request)
    with pytest.raises(OpenError):
        await collect(call, replace(request, exchange=other.exchange))
