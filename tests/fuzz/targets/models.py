"""The model in a body at the aggregated address: it is what a parser reads, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from blindrelay.provider_bridge.aggregate.model_body import ModelBody
from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.stateless.json_body import JsonError, parse_json

from ..tape import spelt
from ..target import Target, check

T = TypeVar("T")


def model_in_json(data: bytes) -> None:
    """A body that may be sent, with a piece that is put together from its marks."""
    body = bytearray(data if data[:1] == b"{" else b'{"model":"m",' + spelt(data, _WORDS) + b"}")
    parse_json(body)
    before = json.loads(body)
    named = _run(ModelBody.of_json(body))
    check(named.model == before["model"], "the model is the one that a parser reads")
    check(named.has_field("model"), "a field is found")
    for model, added in (("other", {"salt of none": "s"}), ('q"\\', {}), (named.model, {})):
        named.write(model, added)
        check(json.loads(body) == before | added | {"model": model}, "nothing else changes")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """It waits for nothing, but lets other tasks run."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            value: T = done.value
            return value


_WORDS: Final = (
    *(b'"model"', b'"m"', b'"messages"', b'"role":"user"', b'"x"', b'"\\""', b'"\\\\"', b'"\\u006d"'),
    *(b"{", b"}", b"[", b"]", b",", b":", b" ", b"1", b"null", b'"', b"\\", b"\n"),
)
_SEEDS: Final = (
    b'{"model":"m"}',
    b' {"a": {"model": "n"}, "model" : "m" , "messages":[{"role":"user","content":"\\"}"}]}',
    b'{"input":["x",{"y":[1]}],"model":"\\u006d\\ud800"}',
    bytes((4, 13, 9, 10, 12, 10, 5, 12)),
)

TARGETS = (Target("model_in_json", model_in_json, (JsonError, RequestError), lambda: _SEEDS, 1_024),)
