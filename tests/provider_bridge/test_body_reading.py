"""A JSON body has one reading, or it is refused; a compressed one is judged and sent on as it was decoded."""

from __future__ import annotations

import base64
import gzip
import os
import zlib
from typing import Any

import pytest

from blindrelay.provider_bridge.content_coding import decode_body
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import RequestBudget
from blindrelay.provider_bridge.stateless.checker import Checker
from blindrelay.provider_bridge.stateless.json_body import (
    LONG_STRING,
    MAX_QUOTES,
    MAX_STRUCTURE,
    JsonError,
    parse_json,
)
from blindrelay.provider_bridge.stateless.long_strings import LongStrings
from blindrelay.v1.limits import MAX_BODY_PIECE

from .scripted_provider import ScriptedProvider
from .sealed_caller import SealedCaller, request_head

LONG = b"a" * (LONG_STRING + 1)


REFUSED = {
    "one key twice": [b'{"store":false,"store":true}', b'{"a":[{"b":1,"b":1}]}', b'{"a":1,"\\u0061":2}'],
    "byte order mark": [b'\xef\xbb\xbf{"a":1}'],
    "not UTF-8": [
        *('{"a":1}'.encode("utf-16"), b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}'),
        *(b'{"a":"' + LONG + b'\xff"}', b'{"a":"' + LONG + b"\xc3"),
    ],
    "NaN|-Infinity": [b'{"a":NaN}', b'{"a":-Infinity}'],
    "not JSON": [
        *(b"", b"{'a':1}", b'{"a":1}{"a":2}', b'{"a":1,}', b'{"a":"\n"}'),
        *(b'{"a":"' + LONG + end for end in (b'\n"}', b'\\q"}', b'\\u12"}', b'\\"}')),
        b'{"a":"\n","b":' + b"[" * 2_000 + b'"c"',
    ],
    "nested too deeply": [b"[" * 200_000 + b"]" * 200_000],
    "values": [b"[" + b"0," * MAX_STRUCTURE + b"0]"],
    "quotation marks": [b'"' * (MAX_QUOTES + 1)],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_body_with_two_readings_is_refused(reason: str) -> None:
    for body in REFUSED[reason]:
        with pytest.raises(JsonError, match=reason):
            parse_json(body)


def test_long_strings_are_checked_and_not_kept() -> None:
    """What is read otherwise is compared with the standard library by the fuzz target json_body."""
    assert parse_json(bytearray('{"a":[1,2.5e3,null,"ä\\u00e4"]}'.encode())) == {"a": [1, 2500.0, None, "ää"]}
    assert parse_json(b'{"a":"' + LONG + b'","b":"' + LONG + b'\\u00e4\\\\\\""}') == {"a": "…", "b": "…"}
    assert parse_json(b'["' + LONG[:-3] + b'"]') == [LONG[:-3].decode()]
    assert parse_json(b'["' + b"," * (2 * MAX_STRUCTURE) + b'"]') == ["…"], "their commas do not count"


def test_escaped_quotes_in_a_broken_string_are_scanned_once() -> None:
    """Each could begin a string. If each were tried, it would take hours."""
    with pytest.raises(JsonError):
        parse_json(b'{"a":"' + b'\\"' * 1_000_000 + b'\x01"}')


BODY = b'{"user":"' + b"x" * 300_000 + b'"}'


async def decoded(body: bytes, coding: bytes = b"gzip", limit: int = 1_000_000) -> bytearray:
    with RequestBudget(Quota(limit)).share(b"peer") as share:
        return await decode_body(bytearray(body), coding, share, limit)


async def test_body_is_decoded_up_to_the_limit() -> None:
    for body in (b"", b"x", BODY):
        assert await decoded(gzip.compress(body)) == body
        assert await decoded(zlib.compress(body), b"deflate") == body
    with pytest.raises(RequestError, match="is over 1000000 bytes"):
        await decoded(gzip.compress(bytes(50_000_000)))


async def test_damaged_stream_is_refused() -> None:
    whole = gzip.compress(BODY)
    for body in (b"", BODY, whole[:-1], whole + b"x", whole * 2, whole[:-8] + bytes(8), zlib.compress(BODY)):
        with pytest.raises(RequestError, match="not one whole gzip stream"):
            await decoded(body)


async def test_provider_gets_what_was_judged(bridge: SealedCaller, provider: ScriptedProvider) -> None:
    head = request_head(headers={b"content-type": b"application/json", b"content-encoding": b"gzip"})
    got = await bridge.exchange(head, gzip.compress(b'{"store":true}'))
    assert got.failure == ("STORED_OBJECT", "NOT_STARTED")
    assert (await bridge.exchange(head, gzip.compress(BODY))).status == 200
    (received,) = provider.received
    assert (received.body, received.named[b"content-length"]) == (BODY, str(len(BODY)).encode())
    assert b"content-encoding" not in received.named


async def test_body_is_looked_at_while_it_arrives(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the last record, so that little is left to do once the body is whole."""
    looked, look = list[int](), LongStrings.look

    def noted(strings: LongStrings, body: bytearray, end: int | None = None) -> None:
        looked.append(len(body))
        look(strings, body, end)

    monkeypatch.setattr(LongStrings, "look", noted)
    head = request_head(headers={b"content-type": b"application/json"})
    assert (await bridge.exchange(head, BODY)).status == 200
    before_the_end = [size for size in looked if size < len(BODY)]
    assert len(before_the_end) == len(BODY) // MAX_BODY_PIECE
    assert before_the_end[-1] >= len(BODY) - MAX_BODY_PIECE
    (received,) = provider.received
    assert received.body == BODY


async def test_compressed_body_is_looked_at_only_once_it_is_decoded(
    bridge: SealedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, check = list[LongStrings | None](), Checker.check

    async def noted(*arguments: Any) -> None:
        given.append(arguments[3])
        await check(*arguments)

    monkeypatch.setattr(Checker, "check", noted)
    head = request_head(headers={b"content-type": b"application/json", b"content-encoding": b"gzip"})
    noise = b'{"user":"' + base64.b64encode(os.urandom(200_000)) + b'"}'
    assert (await bridge.exchange(head, gzip.compress(noise))).status == 200
    assert given == [None]
