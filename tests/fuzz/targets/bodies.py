"""Bodies for the bridge's credential: they have one reading, and nothing is stored (section 11.5)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from email import message_from_bytes
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

from blindrelay.provider_bridge.stateless.description import api_description
from blindrelay.provider_bridge.stateless.form_data import FormError, check_form
from blindrelay.provider_bridge.stateless.json_body import LONG_STRING, JsonError, parse_json
from blindrelay.provider_bridge.stateless.json_check import StoredObjectError, check_json
from blindrelay.provider_bridge.stateless.rules import Rule

from ..tape import Tape, spelt, written
from ..target import Target, check

_PATHS: Final = (
    ("/v1/responses", "openai"),
    ("/v1/chat/completions", "openai"),
    ("/v1/messages", "anthropic"),
    ("/v1beta/models/g:generateContent", "gemini"),
)
_FORM: Final = "/v1/audio/transcriptions"
_ALWAYS_REFUSED: Final = {"background", "cachedcontent", "container", "conversation", "previousresponseid"}
_REFERENCES: Final = {"containerid", "fileid", "fileuri", "fileids", "vectorstoreids"}
_KEYS_TEXT: Final = """
store Store_ background cachedContent container conversation previous_response_id prompt input messages
content contents parts tools voice audio id type file_id fileUri vector_store_ids source
"""
_KEYS: Final = tuple(_KEYS_TEXT.split())
_VALUES: Final = (False, True, None, 0, 1, "", "x", "file", "item_reference")


def json_body(data: bytes) -> None:
    """Any bytes as JSON: what is accepted, the standard library reads in the same way."""
    _check_same(parse_json(data), json.loads(data.decode("utf-8"), object_pairs_hook=_unique))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check(len(dict(pairs)) == len(pairs), "an object has no duplicate key")
    return dict(pairs)


def _check_same(ours: Any, theirs: Any) -> None:
    waiting = [(ours, theirs)]
    while waiting:
        ours, theirs = waiting.pop()
        check(type(ours) is type(theirs), "a value is of one kind")
        if isinstance(ours, dict):
            pairs = list(zip(ours, theirs, strict=False))
            check(len(ours) == len(theirs) and all(_same_text(*pair) for pair in pairs), "the same keys")
            waiting += zip(ours.values(), theirs.values(), strict=False)
        elif isinstance(ours, list):
            check(len(ours) == len(theirs), "the same items")
            waiting += zip(ours, theirs, strict=False)
        else:
            check(ours == theirs or _same_text(ours, theirs), "the same value")


def _same_text(ours: Any, theirs: Any) -> bool:
    """Whether they are equal, or `ours` only marks the place of a long text."""
    return bool(ours == theirs or (ours == "…" and len(json.dumps(theirs)) > LONG_STRING // 6))


def stored_objects(data: bytes) -> None:
    """A JSON body for a path: nothing passes that stores something or refers to something stored."""
    tape = Tape(data)
    path, api = tape.choice(_PATHS)
    body = json.dumps(_object(tape, 4)).encode() if tape.flag() else tape.rest()
    check_json(parse_json(body), _rule(api, "bodies", path))
    value = json.loads(body)
    for key, inner in value.items():
        check(_plain(key) != "store" or inner in (None, False), "nothing is stored")
        check(_plain(key) not in _ALWAYS_REFUSED or inner in (None, False, "", []), "no state is referred to")
    check(path != "/v1/responses" or value.get("store") is False, "the Responses API is told not to store")
    if not _content_fields(api) & {key for key, _ in _members(value)}:  # these are the application's own
        for key, inner in _members(value):
            check(_plain(key) not in _REFERENCES or inner in (None, "", [], False), "nothing is referred to")


def _rule(api: str, kind: str, path: str) -> Rule:
    rule = api_description(api).rule(kind, path)
    check(rule is not None, "the path is described")
    return rule or Rule()


@cache
def _content_fields(api: str) -> set[str]:
    """The names of the fields whose values belong to the application."""
    shapes, names, waiting = set[int](), set[str](), list(api_description(api).shapes.values())
    while waiting:
        shape = waiting.pop()
        if id(shape) not in shapes:
            shapes.add(id(shape))
            names |= {name for name, rule in shape.fields.items() if rule.content}
            waiting += [rule.shape for rule in shape.fields.values() if rule.shape is not None]
    return names


def _object(tape: Tape, depth: int) -> dict[str, Any]:
    return {tape.choice(_KEYS): _value(tape, depth) for _ in range(tape.byte() % 6)}


def _value(tape: Tape, depth: int) -> Any:
    kind = tape.byte() % 4 if depth else 3
    if kind == 0:
        return _object(tape, depth - 1)
    if kind == 1:
        return [_value(tape, depth - 1) for _ in range(tape.byte() % 4)]
    return tape.choice(_VALUES)


def _plain(key: str) -> str:
    return key.replace("_", "").casefold()


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def form_data(data: bytes) -> None:
    """A multipart body: every field that another parser finds in it is described."""
    body = _DISPOSITION + spelt(data, _WORDS) + b"\r\n\r\nf\r\n--b--\r\n"
    rule = _rule("openai", "forms", _FORM)
    check_form(body, b"b", rule)
    for name in _field_names(body):
        for read in (name, unquote(name), _QUOTED_PAIR.sub(r"\1", name)):
            known = rule.shape is not None and read.partition("[")[0] in rule.shape.fields
            check(known and _plain(read) not in ("fileid", "fileids"), "every field is described")


def _field_names(body: bytes) -> Iterator[str]:
    message = message_from_bytes(b"content-type: multipart/form-data; boundary=b\r\n\r\n" + body)
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if name is not None:
            yield name[2] if isinstance(name, tuple) else name


def long_body(data: bytes) -> None:
    """A repeated piece: the time of a check grows no faster than the body."""
    tape = Tape(data)
    kind, path = tape.choice((("forms", _FORM), ("bodies", "/v1/chat/completions")))
    begin, piece = spelt(tape.chunk(), _WORDS), spelt(tape.rest(), _WORDS)
    body = begin + piece * (_LONG // max(1, len(piece)))
    if kind == "forms":
        check_form(_DISPOSITION + body, b"b", _rule("openai", kind, path))
    else:
        check_json(parse_json(body), _rule("openai", kind, path))


_BODIES: Final = (
    b'{"model":"m","store":false,"input":[{"type":"message","content":"\\u00e9"}]}',
    b'{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}',
    b'{"contents":[{"parts":[{"fileData":{"fileUri":"x"}}]}],"cachedContent":null}',
    b'{"a":1,"a":2}',
    b'\xef\xbb\xbf{"x":[NaN,1e999,-0,"\\ud800"]}',
    b'["' + b"x" * 1_030 + b'", 1]',
)
_LONG: Final = 262_144
"""Bytes. A check that takes the square of this many steps exceeds the time for one input."""

_QUOTED_PAIR: Final = re.compile(r"\\(.)", re.DOTALL)
_DISPOSITION: Final = b"--b\r\nContent-Disposition: form-data; "
_WORDS: Final = (
    *(b"name", b"filename", b"=", b" ", b"\t", b"\r\n ", b'"', b"file_id", b"file", b"_", b"id", b";", b"*"),
    *(b"\\", b"\r\n\r\nf\r\n" + _DISPOSITION, b'\\"', b"[", b"{", b",", b":", b"\\u00e9", b"model"),
)

_JSON_SEEDS: Final = tuple(bytes([place % 4, 0]) + body for place, body in enumerate(_BODIES * 2))
_FORM_SEEDS: Final = (bytes((0, 2, 6, 21, 6)), b"\0\2\7")
_LONG_SEEDS: Final = tuple(
    written(kind, begin) + piece
    for kind, begin, piece in ((1, b"{}", b" "), (1, b"[", b"1,"), (1, b"1", b"\3"), (0, b"", b"x"))
)
_FORM_ERRORS: Final = (FormError, StoredObjectError)

TARGETS = (
    Target("json_body", json_body, (JsonError,), lambda: _BODIES, 2_048),
    Target("stored_objects", stored_objects, (JsonError, StoredObjectError), lambda: _JSON_SEEDS, 2_048),
    Target("form_data", form_data, _FORM_ERRORS, lambda: _FORM_SEEDS, 64),
    Target("long_body", long_body, (JsonError, *_FORM_ERRORS), lambda: _LONG_SEEDS, 64),
)
