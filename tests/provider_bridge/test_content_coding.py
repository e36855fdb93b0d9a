"""A compressed body is decoded, judged, and sent on as it was judged."""

from __future__ import annotations

import gzip
import zlib

import pytest

from blindrelay.provider_bridge.content_coding import decode_body
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import RequestBudget

from .scripted_provider import ScriptedProvider
from .sealed_caller import SealedCaller, request_head

BODY = b'{"user":"' + b"x" * 300_000 + b'"}'
JSON = b"application/json"


async def decoded(body: bytes, coding: bytes = b"gzip", limit: int = 1_000_000) -> bytearray:
    with RequestBudget(Quota(limit)).share(b"peer") as share:
        return await decode_body(bytearray(body), coding, share, limit)


async def test_body_is_decoded() -> None:
    for body in (b"", b"x", BODY):
        assert await decoded(gzip.compress(body)) == body
        assert await decoded(zlib.compress(body), b"deflate") == body


async def test_damaged_stream_is_refused() -> None:
    whole = gzip.compress(BODY)
    for body in (b"", BODY, whole[:-1], whole + b"x", whole * 2, whole[:-8] + bytes(8), zlib.compress(BODY)):
        with pytest.raises(RequestError, match="not one whole gzip stream"):
            await decoded(body)


async def test_bomb_is_refused_at_the_limit() -> None:
    with pytest.raises(RequestError, match="is over 1000000 bytes"):
        await decoded(gzip.compress(bytes(50_000_000)))


async def test_provider_gets_what_was_judged(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    head = request_head(headers={b"content-type": JSON, b"content-encoding": b"gzip"})
    got = await bridge.exchange(head, gzip.compress(b'{"store":true}'))
    assert got.failure == ("STORED_OBJECT", "NOT_STARTED")
    assert (await bridge.exchange(head, gzip.compress(BODY))).status == 200
    (received,) = provider.received
    assert (received.body, received.named[b"content-length"]) == (BODY, str(len(BODY)).encode())
    assert b"content-encoding" not in received.named
