"""Bodies and messages are completed so that nothing is stored, and stay as they are otherwise."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx2
import pytest

from blindrelay.client.store_false import stateless_body, stateless_message

from .conftest import BROUGHT, INJECTED

SALTING = replace(INJECTED, cache_salt=frozenset({"models.example"}))
VLLM = "https://models.example/v1/responses"
RESPONSES = "https://api.openai.com/v1/responses"
CHAT = "https://api.openai.com/v1/chat/completions"
DEEP = b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def with_salt_named(content: bytes | None) -> bytes:
    return re.sub(rb'"cache_salt" ?: ?"[0-9a-f]{64}"', b'"cache_salt":SALT', content or b"")


@pytest.mark.parametrize(
    ("url", "body", "completed"),
    [
        (RESPONSES, b' {"a":1e400, "a":2}', b'{"store":false,"a":1e400, "a":2}'),
        (RESPONSES, b'{"input": "\\ud83d"}', b'{"store":false,"input": "\\ud83d"}'),
        (RESPONSES, b"{ }", b'{"store":false }'),
        (RESPONSES, b'{"store": null, "input": "x"}', b'{"store": false, "input": "x"}'),
        (RESPONSES, b'{"store": true}', b'{"store": true}'),
        (CHAT, b'{"messages": []}', b'{"messages": []}'),
        (VLLM, b' {"a": 1e400}', b'{"store":false,"cache_salt":SALT,"a": 1e400}'),
        (VLLM, b'{"store": null}', b'{"cache_salt":SALT,"store": false}'),
        (VLLM, b'{"cache_salt" : null, "store": true}', b'{"cache_salt":SALT, "store": true}'),
        (VLLM, b'{"cache_salt": "mine"}', b'{"store":false,"cache_salt": "mine"}'),
        (RESPONSES, b"\xff not json", b"\xff not json"),
        (RESPONSES, b'\xef\xbb\xbf{"a":1}', b'\xef\xbb\xbf{"a":1}'),
        (RESPONSES, '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-16")),
        (RESPONSES, b"[1]", b"[1]"),
        pytest.param(RESPONSES, DEEP, DEEP, id="deep"),
    ],
)
def test_body_is_completed_where_the_api_would_store(url: str, body: bytes, completed: bytes) -> None:
    request = httpx2.Request("POST", url, content=body)
    assert with_salt_named(stateless_body(request, SALTING)) == completed
    assert stateless_body(request, BROUGHT) == body


@pytest.mark.parametrize(
    ("url", "message", "completed"),
    [
        (RESPONSES, b'{"type":"response.create"}', b'{"store":false,"type":"response.create"}'),
        (RESPONSES, b'{"type":"response.create","store":true}', b'{"type":"response.create","store":true}'),
        (RESPONSES, b'{"type":"response.cancel"}', b'{"type":"response.cancel"}'),
        (RESPONSES, b"[1]", b"[1]"),
        (
            VLLM,
            b'{"type":"response.create"}',
            b'{"store":false,"cache_salt":SALT,"type":"response.create"}',
        ),
        (VLLM, b'{"type":"other"}', b'{"type":"other"}'),
    ],
)
def test_message_on_a_websocket_is_completed_as_a_body_is(url: str, message: bytes, completed: bytes) -> None:
    for address in (url, url.replace(".example", ".example.blindrelay.invalid")):
        request = httpx2.Request("GET", address.replace("https:", "wss:"))
        assert with_salt_named(stateless_message(message, request, SALTING)) == completed
        assert stateless_message(message, request, BROUGHT) == message


def test_streamed_body_is_not_collected() -> None:
    assert stateless_body(httpx2.Request("POST", RESPONSES, content=iter([b"piece"])), INJECTED) is None
