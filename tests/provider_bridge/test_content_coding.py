"""A compressed body is decoded, judged, and goes on as it was judged."""

from __future__ import annotations

import gzip
import zlib

import pytest

from blindrelay.provider_bridge.content_coding import decode_body
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.request_budget import Share

from .fake_provider import FakeProvider
from .sealed_caller import SealedCaller, request_head

BODY = b'{"user":"' + b"x" * 300_000 + b'"}'
JSON = b"application/json"


class Unlimited(Share):
    def __init__(self) -> None:
        pass

    def add(self, size: int) -> None:
        pass


async def decoded(body: bytes, coding: bytes = b"gzip", limit: int = 1_000_000) -> bytearray:
    return await decode_body(bytearray(body), coding, Unlimited(), limit)


@pytest.mark.parametrize("body", [b"", b"x", BODY])
async def test_each_coding(body: bytes) -> None:
    assert await decoded(gzip.compress(body)) == body
    assert await decoded(zlib.compress(body), b"deflate") == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        BODY,
        gzip.compress(BODY)[:-1],
        gzip.compress(BODY) + b"x",
        gzip.compress(BODY) * 2,
        gzip.compress(BODY)[:-8] + bytes(8),
        zlib.compress(BODY),
    ],
)
async def test_damaged_stream_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="not one whole gzip stream"):
        await decoded(body)


async def test_bomb_is_refused_at_the_limit() -> None:
    with pytest.raises(RequestError, match="decoded, is over 1000000 bytes"):
        await decoded(gzip.compress(bytes(50_000_000)))


@pytest.mark.parametrize(("coding", "encode"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
async def test_provider_gets_what_was_judged(
    bridge: SealedCaller, provider: FakeProvider, coding: bytes, encode: object
) -> None:
    assert callable(encode)
    head = request_head(headers={b"content-type": JSON, b"content-encoding": coding})
    assert (await bridge.exchange(head, encode(BODY))).status == 200
    assert provider.received[0].body == BODY
    assert provider.received[0].named[b"content-length"] == str(len(BODY)).encode()
    assert b"content-encoding" not in provider.received[0].named


async def test_compressed_body_is_judged(bridge: SealedCaller, provider: FakeProvider) -> None:
    head = request_head(headers={b"content-type": JSON, b"content-encoding": b"gzip"})
    got = await bridge.exchange(head, gzip.compress(b'{"store":true}'))
    assert (got.code, got.execution) == ("STORED_OBJECT", "NOT_STARTED")
    assert provider.connections == 0
