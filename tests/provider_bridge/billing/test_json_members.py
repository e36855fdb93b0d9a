"""Reading members of JSON while their bytes pass, cut wherever they like to be cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindrelay.provider_bridge.billing.json_members import MAX_MEMBER, MemberReader, Wanted

WANTED = Wanted(frozenset({"usage", "model", "response.usage"}), frozenset({"response"}))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(["usage", "model", "response", "data", 'a"b', "\\", "{"]), VALUES)


def read(data: bytes, size: int = 1 << 20) -> list[dict[str, Any]]:
    reader = MemberReader(WANTED)
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    found = [members for piece in pieces for members in reader.feed(piece)]
    return [{name: member.value for name, member in members.items()} for members in found]


def expected(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: value[name] for name in ("usage", "model") if name in value}
    response = value.get("response")
    if isinstance(response, dict) and "usage" in response:
        kept["response.usage"] = response["usage"]
    return kept


@given(st.lists(OBJECTS, max_size=4), st.integers(1, 40), st.booleans())
def test_members_are_those_of_a_parser(values: list[dict[str, Any]], size: int, ascii_only: bool) -> None:
    text = "\n".join(json.dumps(value, ensure_ascii=ascii_only) for value in values)
    assert read(text.encode("utf-8", "replace"), size) == [expected(value) for value in values]


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_objects_are_found_in_events_lists_and_lines(size: int) -> None:
    events = b'event: x\ndata: {"model":"a"}\n\n: note\n\ndata: [DONE]\n\n'
    data = events + b'[{"model":"b"},\n{"model":"c"}]\n{"model":"d"}\n'
    assert read(data, size) == [{"model": name} for name in "abcd"]


def test_text_of_the_model_is_not_taken_for_a_report() -> None:
    said = json.dumps({"usage": {"input_tokens": 0}})
    data = json.dumps(
        {"content": [{"text": said, "input": {"usage": {"input_tokens": 0}}}], "usage": {"n": 7}}
    )
    assert read(data.encode()) == [{"usage": {"n": 7}}]


def test_long_member_is_passed_over() -> None:
    long = json.dumps({"model": "x" * MAX_MEMBER, "usage": {"n": 1}}).encode()
    assert read(long) == [{"usage": {"n": 1}}]
    reader = MemberReader(WANTED)
    list(reader.feed(b'{"data": "' + b"x" * 1_000_000))
    assert len(reader._member) <= MAX_MEMBER + 1


def test_place_of_a_value() -> None:
    data = b' {"a": [1, {"usage": 0}], "usage" : {"n":1} , "model":"m"}'
    (members,) = MemberReader(WANTED).feed(data)
    usage, model = members["usage"], members["model"]
    assert data[usage.start : usage.end].strip() == b'{"n":1}'
    assert data[model.start : model.end] == b'"m"'
