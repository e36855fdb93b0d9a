"""Exchanges through the real core and gRPC server: what reaches the provider, and what comes back."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import BridgeConfig, parse_calls
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_LENGTH,
    BODY_END_NONE,
    CREDENTIAL_BROUGHT,
)

from .conftest import Serve
from .scripted_provider import EVENT_STREAM, LAST_CHUNK, ScriptedProvider, chunk, raw, response, stepwise
from .sealed_caller import CHAT, SealedCaller, parts, request_head

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n"


async def test_request_reaches_the_provider(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    provider.script = response(b'{"ok":true}', headers=b"content-type: application/json\r\n")
    headers = {b"content-type": b"application/json", b"accept": b"text/event-stream", b"openai-beta": b"\xe4"}
    head = request_head(CHAT + "?alt=%2F&after=x:y@z", headers=headers)
    request = await bridge.seal(head, b'{"n": 1}')
    got = await bridge.complete(request)
    assert (got.status, got.body, got.body_end) == (200, b'{"ok":true}', BODY_END_LENGTH)
    assert (len(request.messages), got.records) == (1, 1), "a small exchange is one record each way"
    assert got.headers == {"content-type": "application/json", "content-length": "11"}
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


async def test_pieces_arrive_while_the_provider_holds_back_the_rest(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    release = asyncio.Semaphore(0)
    pieces = [b"data: %d\n\n" % number for number in range(3)]
    provider.script = stepwise(release, EVENT_STREAM, *map(chunk, pieces), LAST_CHUNK)
    request = await bridge.seal()
    received = parts(await bridge.send(request), request)
    head = await anext(received)
    assert (head.head.status, head.body) == (200, b"")
    for piece in pieces:
        release.release()
        part = await anext(received)
        assert (part.body, part.HasField("tail")) == (piece, False)
    release.release()
    assert (await anext(received)).tail.body_end == BODY_END_CHUNKED
    assert [part async for part in received] == []


async def test_slow_response_of_known_length_is_not_held_back(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    release = asyncio.Semaphore(0)
    provider.script = stepwise(release, OK + b"content-length: 6\r\n\r\nabc", b"def")
    request = await bridge.seal()
    received = parts(await bridge.send(request), request)
    first = await anext(received)
    assert (first.head.status, first.body) == (200, b"abc")
    release.release()
    assert b"".join([part.body async for part in received]) == b"def"


async def test_chunks_of_any_size_arrive(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    for size, times in ((1, 8), (1_000, 8_000), (65_536, 8_000), (300_000, 8_000)):
        body = bytes(range(256)) * times
        chunks = (chunk(body[start : start + size]) for start in range(0, len(body), size))
        provider.script = raw(CHUNKED + b"\r\n" + b"".join(chunks) + LAST_CHUNK)
        got = await bridge.exchange()
        assert (got.body, got.body_end) == (body, BODY_END_CHUNKED)
        assert max(len(piece) for piece in got.pieces) <= 65_536
        assert got.records < 200, "small pieces that are there together travel together"


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (b"307 Temporary Redirect", {"location": "/v1/other"}, b""),
        (b"200 OK", {"content-encoding": "gzip"}, gzip.compress(b'{"ok":true}', mtime=0)),
    ],
)
async def test_response_is_passed_on_as_it_is(
    bridge: SealedCaller, provider: ScriptedProvider, status: bytes, headers: dict[str, str], body: bytes
) -> None:
    """A redirect is not followed, a cookie is neither returned nor kept, a coding is not undone."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    provider.script = response(body, status=status, headers=lines + b"set-cookie: user=one; Path=/\r\n")
    for _ in range(2):
        got = await bridge.exchange()
        assert (got.status, got.body, got.code) == (int(status[:3]), body, "")
        assert got.headers == {"content-length": str(len(body))} | headers
    assert len(provider.received) == 2
    assert b"cookie" not in provider.received[1].named


async def test_response_without_a_body_leaves_its_connection_usable(
    serve: Serve, config: BridgeConfig, provider: ScriptedProvider
) -> None:
    calls = parse_calls(["HEAD /v1/models", "GET /v1/models"])
    async with serve(providers=(replace(config.providers[0], injected=calls),)) as caller:
        for method, head in (
            ("HEAD", b"200 OK\r\ncontent-length: 5"),
            ("GET", b"204 No Content"),
            ("GET", b"304 Not Modified\r\ncontent-length: 5"),
        ):
            provider.script = raw(b"HTTP/1.1 " + head + b"\r\n\r\n")
            got = await caller.exchange(request_head("https://api.openai.com/v1/models", method), b"")
            assert (got.body, got.body_end, got.code) == (b"", BODY_END_NONE, "")
    assert provider.connections == 1


async def test_interim_responses_and_trailers_are_dropped(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        + CHUNKED
        + b"content-length: 9\r\ntrailer: x-sum\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 1\r\nset-cookie: a=b\r\n\r\n"
    )
    for _ in range(2):
        got = await bridge.exchange()
        assert (got.status, got.body, got.body_end, got.code) == (200, b"{}", BODY_END_CHUNKED, "")
        assert not {"link", "trailer", "x-sum", "set-cookie", "content-length"} & set(got.headers)
    assert provider.connections == 1


@pytest.mark.parametrize("allowed", [False, True])
async def test_response_that_ends_with_its_connection_is_whole_if_the_operator_says_so(
    serve: Serve, config: BridgeConfig, provider: ScriptedProvider, allowed: bool
) -> None:
    provider.script = raw(b"HTTP/1.0 200 OK\r\n\r\na response", close=True)
    async with serve(providers=(replace(config.providers[0], allow_close_delimited=allowed),)) as caller:
        got = await caller.exchange()
    assert got.body == b"a response", "what came is shown"
    assert got.body_end == (BODY_END_CLOSE if allowed else 0)
    assert got.failure == (("", "") if allowed else ("PROVIDER_FAILED", "STARTED"))
    assert ("allow_close_delimited" in got.message) is not allowed
