"""Finding and exchanging the model's name in a body, and what a conversation begins with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.aggregate.json_fields import MAX_FIELDS, read_fields
from blindrelay.provider_bridge.aggregate.model_body import ModelBody
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.form_data import FormError, field_span
from blindrelay.provider_bridge.stateless.json_body import JsonError

SPACE = st.text(" \t\r\n", max_size=3)
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from('\\"{}[]:,'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=6), SPACE, st.booleans())
async def test_fields_are_found_as_a_parser_finds_them(
    value: dict[str, Any], space: str, ascii_only: bool
) -> None:
    separators = (f",{space}", f"{space}:{space}")
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    body = bytearray(f"{space}{text}{space}".encode("utf-8", "surrogatepass"))
    start, fields = await read_fields(body)
    assert start == len(space)
    found = {json.loads(name): json.loads(body[each.start : each.end]) for name, each in fields.items()}
    assert found == value


@given(st.dictionaries(TEXT, VALUES, max_size=4), TEXT.filter(bool), TEXT.filter(bool))
async def test_only_the_model_changes(value: dict[str, Any], old: str, new: str) -> None:
    value = {"model": old} | value | {"model": old}
    before = json.dumps(value)
    if len(json.dumps(old)) > 1_024:
        return
    body = bytearray(before.encode())
    named = await ModelBody.of_json(body)
    assert named.model == old
    first, second = {"salt": "s"}, {"other": "o"}
    named.write(new, first)
    assert json.loads(body) == first | value | {"model": new}
    named.write(old, second)
    named.write(new, second)
    assert json.loads(body) == second | value | {"model": new}
    named.write(old)
    assert body == before.encode(), "each write replaces the last one"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", '"model"', "{", '{"a":1', '{"a":"', '{"a":"\\"}', '{"a":[}', '{"a":1,"a":2}', " \t"],
)
async def test_what_is_not_one_object_is_refused(text: str) -> None:
    body = bytearray(text.encode())
    if text == '{"a":[}':
        with pytest.raises(RequestError):
            await ModelBody.of_json(body)
        return
    with pytest.raises(JsonError):
        await read_fields(body)


async def test_fields_are_bounded() -> None:
    many = json.dumps({str(number): 1 for number in range(MAX_FIELDS + 1)})
    with pytest.raises(JsonError, match="more than"):
        await read_fields(bytearray(many.encode()))


async def conversation(**fields: Any) -> bytes:
    return (await ModelBody.of_json(bytearray(json.dumps({"model": "m"} | fields).encode()))).conversation


SYSTEM, HELLO, MORE = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "And?"}],
)


async def test_growing_conversation_keeps_its_beginning() -> None:
    begun = await conversation(messages=[SYSTEM, HELLO])
    assert begun == await conversation(messages=[SYSTEM, HELLO, *MORE], temperature=1)
    assert begun != await conversation(messages=[SYSTEM, {"role": "user", "content": "Hullo"}])
    assert begun != await conversation(messages=[HELLO, *MORE])
    claude = await conversation(system="Be brief.", messages=[HELLO])
    assert claude == await conversation(system="Be brief.", messages=[HELLO, *MORE])
    assert claude != await conversation(system="Be long.", messages=[HELLO])
    response = await conversation(instructions="x", input=[HELLO])
    assert response == await conversation(instructions="x", input=[HELLO, *MORE])
    assert await conversation(prompt="x" * 300) == await conversation(prompt="x" * 400)
    assert await conversation(prompt="x") != await conversation(prompt="y")
    assert await conversation(temperature=1) == b""


async def test_cache_marks_that_move_do_not_change_a_conversation() -> None:
    marked = {"role": "user", "content": [{"type": "text", "text": "Hello", "cache_control": {"type": "e"}}]}
    assert await conversation(messages=[marked]) == await conversation(messages=[HELLO, *MORE])


def form(*parts: bytes) -> bytes:
    return b"".join(b"--B\r\n" + part + b"\r\n" for part in parts) + b"--B--\r\n"


MODEL = b'content-disposition: form-data; name="model"\r\n\r\nwhisper'
FILE = b'content-disposition: form-data; name="file"; filename="a"\r\n\r\nx--B name="model" x\r--b\n-B'


def test_field_of_a_form() -> None:
    for body in (form(MODEL), form(FILE, MODEL), form(MODEL, FILE)):
        span = field_span(body, b"B", "model")
        assert span is not None
        assert body[slice(*span)] == b"whisper"
    assert field_span(form(FILE), b"B", "model") is None
    assert field_span(form(FILE.replace(b'"file"', b'"model"')), b"B", "model") is None
    with pytest.raises(FormError, match="twice"):
        field_span(form(MODEL, MODEL), b"B", "model")
    with pytest.raises(FormError):
        field_span(form(MODEL)[:-6], b"B", "model")
    for broken in (b"\r--B", b"\n--B"):
        with pytest.raises(FormError, match="not on a line of its own"):
            field_span(form(FILE + broken, MODEL), b"B", "model")
