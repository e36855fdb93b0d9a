"""A body without its long strings is read as the whole body is, or it is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindrelay.provider_bridge.stateless.json_body import LONG_STRING, JsonError, parse_json
from blindrelay.provider_bridge.stateless.long_strings import MOST_QUOTES, SLICE, LongStrings

RUN = b"a" * (LONG_STRING + 1)
TEXTS = st.builds(lambda text, times: text * times, st.text(min_size=1), st.integers(1, 1_200))
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda values: st.lists(values, max_size=5) | st.dictionaries(TEXTS, values, max_size=5),
)


async def shorten(body: bytearray) -> bytearray:
    return await LongStrings().taken_out(body)


def same(short: Any, whole: Any) -> bool:
    """Whether they differ in long texts alone."""
    if isinstance(whole, list):
        return len(short) == len(whole) and all(map(same, short, whole))
    if isinstance(whole, dict):
        return len(short) == len(whole) and all(map(same, short.values(), whole.values()))
    return bool(short == whole or ("…" in short and len(whole) > LONG_STRING // 6))


@settings(deadline=None)
@given(VALUES, st.booleans(), st.lists(st.integers(1, 5_000)))
async def test_body_that_comes_in_pieces_is_shortened_in_the_same_way(
    value: Any, ascii_only: bool, sizes: list[int]
) -> None:
    whole = bytearray(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))
    body, strings = bytearray(), LongStrings()
    for size in sizes:
        body += whole[len(body) : len(body) + size]
        strings.look(body)
    body += whole[len(body) :]
    assert await strings.taken_out(body) == await shorten(whole)


@settings(deadline=None)
@given(VALUES, st.booleans())
async def test_short_body_has_the_structure_of_the_whole(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    short = await shorten(bytearray(body))
    try:
        whole = parse_json(body)
    except JsonError:
        return  # such a body is refused
    assert same(parse_json(short), whole)


async def test_long_plain_strings_are_taken_out() -> None:
    text = "ä€😀".encode() * SLICE
    body = bytearray(b'{"a": "' + RUN + b'", "b": ["' + text + b'", "c"]}')
    assert await shorten(body) == '{"a": "…", "b": ["…", "c"]}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"' + RUN + b'\n"}',
        b'{"a":"' + RUN + b'\\q"}',
        b'{"a":"' + RUN + b'\\"}',
        b'{"a":"' + RUN + b'\xff"}',
        b'{"a":"' + RUN + b'\xc3"}',
        b'{"a":"x",' + RUN + b'"b":1}',
        b'{"\\"' + RUN + b'":1, "\\u0022' + RUN + b'":2}',
        b'{"\\"' + RUN + b'"' + b" " * 100 + b':1, "\\u0022' + RUN + b'":2}',
    ],
)
async def test_what_is_refused_whole_is_refused_short(body: bytes) -> None:
    with pytest.raises(JsonError):
        parse_json(body)
    with pytest.raises(JsonError):
        parse_json(await shorten(bytearray(body)))


async def test_body_of_many_strings_stays_whole() -> None:
    body = bytearray(b'["' + RUN + b'"' + b',""' * MOST_QUOTES + b"]")
    assert await shorten(body) is body
    strings = LongStrings()
    strings.look(body, len(body) // 2)
    assert await strings.taken_out(body) is body


async def test_character_that_is_cut_between_two_looks_stays_whole() -> None:
    body, strings = bytearray(b'["' + RUN + b"\xc3"), LongStrings()
    strings.look(body)
    body += b'\xa4"]'
    assert await strings.taken_out(body) == '["…"]'.encode()


async def test_character_that_is_never_completed_stays() -> None:
    body, strings = bytearray(b'["' + RUN + b"\xc3"), LongStrings()
    strings.look(body)
    body += b"a"
    strings.look(body)
    body += b'\xa4"]'
    assert await strings.taken_out(body) == body
