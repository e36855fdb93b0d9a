"""Responses: passed on live, whole, and with nothing added or taken but headers."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, parse_calls
from blindrelay.trust import IdentityKey
from blindrelay.v1.inner_pb2 import (
    BODY_END_CHUNKED,
    BODY_END_CLOSE,
    BODY_END_NONE,
)

from .fake_provider import EVENT_STREAM, Connection, FakeProvider, Received, answer, raw
from .sealed_caller import SealedCaller, parts, request_head

JSON = b"content-type: application/json\r\n"


async def test_pieces_arrive_while_the_provider_holds_back_the_rest(
    bridge: SealedCaller, provider: FakeProvider
) -> None:
    release = asyncio.Semaphore(0)

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(EVENT_STREAM)
        for number in range(3):
            await release.acquire()
            await connection.send_chunk(b"data: %d\n\n" % number)
        await release.acquire()
        await connection.send(b"0\r\n\r\n")

    provider.script = script
    request = await bridge.seal()
    answer_parts = parts(await bridge.send(request), request)
    head = await anext(answer_parts)
    assert head.head.status == 200
    assert not head.body
    for number in range(3):
        release.release()
        part = await anext(answer_parts)
        assert part.body == b"data: %d\n\n" % number
        assert not part.HasField("tail")
    release.release()
    assert (await anext(answer_parts)).tail.body_end == BODY_END_CHUNKED
    assert [part async for part in answer_parts] == []


async def test_an_answer_of_known_length_that_trickles_is_not_held_back(
    bridge: SealedCaller, provider: FakeProvider
) -> None:
    release = asyncio.Event()

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
        await release.wait()
        await connection.send(b"def")

    provider.script = script
    request = await bridge.seal()
    answer_parts = parts(await bridge.send(request), request)
    first = await anext(answer_parts)
    assert (first.head.status, first.body) == (200, b"abc")
    release.set()
    assert b"".join([part.body async for part in answer_parts]) == b"def"


@pytest.mark.parametrize("chunk", [1, 1_000, 65_536, 300_000])
async def test_a_long_answer_in_chunks(bridge: SealedCaller, provider: FakeProvider, chunk: int) -> None:
    body = bytes(range(256)) * 8 * (1 if chunk == 1 else 1_000)

    async def script(connection: Connection, _: Received) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(body), chunk):
            await connection.send_chunk(body[start : start + chunk])
        await connection.send(b"0\r\n\r\n")

    provider.script = script
    got = await bridge.exchange()
    assert got.body == body
    assert got.body_end == BODY_END_CHUNKED
    assert max(len(piece) for piece in got.pieces) <= 65_536
    if chunk == 1:
        assert got.records < 200, "small pieces that are there together travel together"


async def test_a_providers_error_goes_back_whole(bridge: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(
        b'{"error":{"code":"rate_limit"}}',
        status=b"429 Too Many Requests",
        headers=JSON + b"retry-after: 7\r\nx-should-retry: true\r\nx-ratelimit-remaining-tokens: 0\r\n",
    )
    got = await bridge.exchange()
    assert (got.status, got.body) == (429, b'{"error":{"code":"rate_limit"}}')
    assert got.headers["retry-after"] == "7"
    assert got.headers["x-should-retry"] == "true"
    assert "x-ratelimit-remaining-tokens" not in got.headers, "the account is everybody's"
    assert got.code == ""


async def test_a_redirect_goes_back_and_is_not_followed(bridge: SealedCaller, provider: FakeProvider) -> None:
    location = b"location: http://127.0.0.1:%d/v1/other\r\n" % provider.port
    provider.script = answer(b"", status=b"307 Temporary Redirect", headers=location)
    got = await bridge.exchange()
    assert got.status == 307
    assert got.headers["location"].endswith("/v1/other")
    assert len(provider.received) == 1


async def test_cookies_are_neither_passed_on_nor_kept(bridge: SealedCaller, provider: FakeProvider) -> None:
    provider.script = answer(headers=b'set-cookie: user=one; Path=/\r\nalt-svc: h3=":443"\r\n')
    got = await bridge.exchange()
    assert set(got.headers) == {"content-length"}
    await bridge.exchange()
    assert b"cookie" not in provider.received[1].named


async def test_encoded_answers_are_not_decoded(bridge: SealedCaller, provider: FakeProvider) -> None:
    body = gzip.compress(b'{"ok":true}')
    provider.script = answer(body, headers=b"content-encoding: gzip\r\n")
    got = await bridge.exchange()
    assert (got.body, got.headers["content-encoding"]) == (body, "gzip")


@pytest.mark.parametrize(
    ("method", "status", "body"),
    [
        ("HEAD", b"200 OK\r\ncontent-length: 5", b""),
        ("GET", b"204 No Content", b""),
        ("GET", b"304 Not Modified\r\ncontent-length: 5", b""),
    ],
)
async def test_answers_without_a_body(
    config: BridgeConfig,
    identity: IdentityKey,
    provider: FakeProvider,
    method: str,
    status: bytes,
    body: bytes,
) -> None:
    provider.script = raw(b"HTTP/1.1 " + status + b"\r\n\r\n" + body)
    calls = parse_calls(["HEAD /v1/models", "GET /v1/models"])
    config = replace(config, providers=(replace(config.providers[0], injected=calls),))
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        for _ in range(2):
            got = await caller.exchange(request_head("https://api.openai.com/v1/models", method), b"")
            assert (got.body, got.body_end, got.code) == (b"", BODY_END_NONE, "")
    assert provider.connections == 1, "nothing was left on the connection"


async def test_interim_answers_are_not_passed_on(bridge: SealedCaller, provider: FakeProvider) -> None:
    provider.script = raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    )
    got = await bridge.exchange()
    assert (got.status, got.body) == (200, b"{}")


async def test_trailers_are_not_passed_on(bridge: SealedCaller, provider: FakeProvider) -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\n{}\r\n0\r\n"
    provider.script = raw(chunked + b"x-sum: 1\r\nset-cookie: a=b\r\n\r\n")
    for _ in range(2):
        got = await bridge.exchange()
        assert (got.status, got.body, got.body_end, got.code) == (200, b"{}", BODY_END_CHUNKED, "")
        assert not {"trailer", "x-sum", "set-cookie"} & set(got.headers)
    assert provider.connections == 1, "nothing was left on the connection"


async def test_an_answer_that_closes_is_incomplete(bridge: SealedCaller, provider: FakeProvider) -> None:
    provider.script = raw(b"HTTP/1.1 200 OK\r\n\r\nhalf an answ", close=True)
    got = await bridge.exchange()
    assert (got.status, got.body) == (200, b"half an answ"), "what came is shown"
    assert (got.code, got.execution) == ("PROVIDER_FAILED", "STARTED")
    assert "closing the connection" in got.message


async def test_an_answer_that_closes_is_whole_where_it_is_allowed(
    config: BridgeConfig, identity: IdentityKey, provider: FakeProvider
) -> None:
    provider.script = raw(b"HTTP/1.0 200 OK\r\n\r\na response", close=True)
    config = replace(config, providers=(replace(config.providers[0], allow_close_delimited=True),))
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        got = await caller.exchange()
    assert (got.body, got.body_end, got.code) == (b"a response", BODY_END_CLOSE, "")
