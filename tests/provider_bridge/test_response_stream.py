"""Responses are passed on live and whole."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import BridgeConfig, parse_calls
from blindrelay.v1.inner_pb2 import BODY_END_CHUNKED, BODY_END_CLOSE, BODY_END_NONE

from .conftest import Serve
from .scripted_provider import EVENT_STREAM, LAST_CHUNK, Connection, ScriptedProvider, raw, response
from .sealed_caller import SealedCaller, parts, request_head

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n"


async def test_pieces_arrive_while_the_provider_holds_back_the_rest(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    release = asyncio.Semaphore(0)

    async def script(connection: Connection) -> None:
        await connection.send(EVENT_STREAM)
        for number in range(3):
            await release.acquire()
            await connection.send_chunk(b"data: %d\n\n" % number)
        await release.acquire()
        await connection.send(LAST_CHUNK)

    provider.script = script
    request = await bridge.seal()
    received = parts(await bridge.send(request), request)
    head = await anext(received)
    assert (head.head.status, head.body) == (200, b"")
    for number in range(3):
        release.release()
        part = await anext(received)
        assert part.body == b"data: %d\n\n" % number
        assert not part.HasField("tail")
    release.release()
    assert (await anext(received)).tail.body_end == BODY_END_CHUNKED
    assert [part async for part in received] == []


async def test_slow_response_of_known_length_is_not_held_back(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    release = asyncio.Event()

    async def script(connection: Connection) -> None:
        await connection.send(OK + b"content-length: 6\r\n\r\nabc")
        await release.wait()
        await connection.send(b"def")

    provider.script = script
    request = await bridge.seal()
    received = parts(await bridge.send(request), request)
    first = await anext(received)
    assert (first.head.status, first.body) == (200, b"abc")
    release.set()
    assert b"".join([part.body async for part in received]) == b"def"


@pytest.mark.parametrize("chunk", [1, 1_000, 65_536, 300_000])
async def test_chunks_of_any_size_arrive(
    bridge: SealedCaller, provider: ScriptedProvider, chunk: int
) -> None:
    body = bytes(range(256)) * 8 * (1 if chunk == 1 else 1_000)
    chunks = [body[start : start + chunk] for start in range(0, len(body), chunk)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
    provider.script = raw(CHUNKED + b"\r\n" + framed + LAST_CHUNK)
    got = await bridge.exchange()
    assert (got.body, got.body_end) == (body, BODY_END_CHUNKED)
    assert max(len(piece) for piece in got.pieces) <= 65_536
    if chunk == 1:
        assert got.records < 200, "small pieces that are there together travel together"


@pytest.mark.parametrize(
    ("status", "headers", "body", "passed"),
    [
        (
            b"429 Too Many Requests",
            b"retry-after: 7\r\nx-ratelimit-remaining-tokens: 0\r\n",
            b'{"error":{"code":"rate_limit"}}',
            {"retry-after": "7"},
        ),
        (b"307 Temporary Redirect", b"location: /v1/other\r\n", b"", {"location": "/v1/other"}),
        (b"200 OK", b'set-cookie: user=one; Path=/\r\nalt-svc: h3=":443"\r\n', b"{}", {}),
        (
            b"200 OK",
            b"content-encoding: gzip\r\n",
            gzip.compress(b'{"ok":true}', mtime=0),
            {"content-encoding": "gzip"},
        ),
    ],
    ids=["error", "redirect", "cookie", "compressed"],
)
async def test_response_is_passed_on_as_it_is(
    bridge: SealedCaller,
    provider: ScriptedProvider,
    status: bytes,
    headers: bytes,
    body: bytes,
    passed: dict[str, str],
) -> None:
    """A redirect is not followed, a cookie is neither returned nor kept, a coding is not undone."""
    provider.script = response(body, status=status, headers=headers)
    for _ in range(2):
        got = await bridge.exchange()
        assert (got.status, got.body, got.code) == (int(status[:3]), body, "")
        assert got.headers == {"content-length": str(len(body))} | passed
    assert len(provider.received) == 2
    assert b"cookie" not in provider.received[1].named


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("HEAD", b"200 OK\r\ncontent-length: 5"),
        ("GET", b"204 No Content"),
        ("GET", b"304 Not Modified\r\ncontent-length: 5"),
    ],
)
async def test_response_without_a_body_leaves_its_connection_usable(
    serve: Serve, config: BridgeConfig, provider: ScriptedProvider, method: str, status: bytes
) -> None:
    provider.script = raw(b"HTTP/1.1 " + status + b"\r\n\r\n")
    calls = parse_calls(["HEAD /v1/models", "GET /v1/models"])
    async with serve(providers=(replace(config.providers[0], injected=calls),)) as caller:
        for _ in range(2):
            got = await caller.exchange(request_head("https://api.openai.com/v1/models", method), b"")
            assert (got.body, got.body_end, got.code) == (b"", BODY_END_NONE, "")
    assert provider.connections == 1


async def test_interim_responses_and_trailers_are_dropped(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        + CHUNKED
        + b"trailer: x-sum\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 1\r\nset-cookie: a=b\r\n\r\n"
    )
    for _ in range(2):
        got = await bridge.exchange()
        assert (got.status, got.body, got.body_end, got.code) == (200, b"{}", BODY_END_CHUNKED, "")
        assert not {"link", "trailer", "x-sum", "set-cookie"} & set(got.headers)
    assert provider.connections == 1


async def test_response_that_ends_with_its_connection_is_not_whole(
    bridge: SealedCaller, provider: ScriptedProvider
) -> None:
    provider.script = raw(OK + b"\r\nhalf an answ", close=True)
    got = await bridge.exchange()
    assert (got.status, got.body) == (200, b"half an answ"), "what came is shown"
    assert got.failure == ("PROVIDER_FAILED", "STARTED")
    assert "allow_close_delimited" in got.message


async def test_operator_may_allow_responses_that_end_with_the_connection(
    serve: Serve, config: BridgeConfig, provider: ScriptedProvider
) -> None:
    provider.script = raw(b"HTTP/1.0 200 OK\r\n\r\na response", close=True)
    async with serve(providers=(replace(config.providers[0], allow_close_delimited=True),)) as caller:
        got = await caller.exchange()
    assert (got.body, got.body_end, got.code) == (b"a response", BODY_END_CLOSE, "")
