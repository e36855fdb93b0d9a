"""What is added to bodies: that nothing is stored, and a salt against guesses in a provider's cache."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from blindrelay.client import ConnectionConfig, cache_salt
from blindrelay.client.request_head import request_head
from blindrelay.client.store_false import salt_for_head, stateless_body, stateless_message

from .conftest import BROUGHT, INJECTED, URL

SALTING = replace(INJECTED, cache_salt=frozenset({"models.example"}))
SALTS = "https://models.example/v1/responses"
RESPONSES = "https://api.openai.com/v1/responses"
VLLM = "https://models.example/v1/chat/completions"
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
        (URL, b'{"messages": []}', b'{"messages": []}'),
        (SALTS, b' {"a": 1e400}', b'{"store":false,"cache_salt":SALT,"a": 1e400}'),
        (SALTS, b'{"store": null}', b'{"cache_salt":SALT,"store": false}'),
        (SALTS, b'{"cache_salt" : null, "store": true}', b'{"cache_salt":SALT, "store": true}'),
        (SALTS, b'{"cache_salt": "mine"}', b'{"store":false,"cache_salt": "mine"}'),
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
        (SALTS, b'{"type":"response.create"}', b'{"store":false,"cache_salt":SALT,"type":"response.create"}'),
        (SALTS, b'{"type":"other"}', b'{"type":"other"}'),
    ],
)
def test_message_on_a_websocket_is_completed_as_a_body_is(url: str, message: bytes, completed: bytes) -> None:
    for address in (url, url.replace(".example", ".example.blindrelay.invalid")):
        request = httpx2.Request("GET", address.replace("https:", "wss:"))
        assert with_salt_named(stateless_message(message, request, SALTING)) == completed
        assert stateless_message(message, request, BROUGHT) == message


def test_streamed_body_is_not_collected() -> None:
    assert stateless_body(httpx2.Request("POST", RESPONSES, content=iter([b"piece"])), INJECTED) is None


SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello"}
REPLY = {"role": "assistant", "content": "Hello."}
MORE = {"role": "user", "content": "Go on."}


def sealed(body: dict[str, Any], url: str = VLLM, connection: ConnectionConfig = SALTING) -> dict[str, Any]:
    request = httpx2.Request("POST", url, json=body)
    content: dict[str, Any] = json.loads(stateless_body(request, connection) or b"")
    return content


def salt(*messages: dict[str, str], key: str = "messages", connection: ConnectionConfig = SALTING) -> str:
    found: str = sealed({key: list(messages)}, connection=connection)["cache_salt"]
    return found


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (VLLM, "cache_salt"),
        ("https://models.example/v1/completions", "cache_salt"),
        ("https://models.example.blindrelay.invalid/v1/responses", "cache_salt"),
        ("https://api.deepseek.com/chat/completions", "user_id"),
        ("https://api.deepseek.com.blindrelay.invalid/chat/completions", "user_id"),
        ("https://api.fireworks.ai/inference/v1/chat/completions", "prompt_cache_isolation_key"),
        ("https://models.example/v1/embeddings", None),
        ("https://other.example/v1/chat/completions", None),
        ("https://api.openai.com/v1/chat/completions", None),
        ("https://api.anthropic.com/v1/messages", None),
    ],
)
def test_salt_is_added_where_the_api_has_a_field(url: str, field: str | None) -> None:
    added = sealed({"model": "m"}, url).keys() - {"model", "store"}
    assert added == ({field} if field else set())
    assert sealed({"model": "m"}, url, replace(SALTING, cache_salt=None)).keys() <= {"model", "store"}
    assert sealed({"model": "m"}, url, replace(BROUGHT, cache_salt=SALTING.cache_salt)) == {"model": "m"}


ALL_MODELS = "https://models.blindrelay.internal/v1/chat/completions"


def salt_in_head(body: Any, connection: ConnectionConfig = INJECTED, url: str = ALL_MODELS) -> str | None:
    return salt_for_head(httpx2.Request("POST", url), connection, body)


def test_salt_for_all_models_is_in_the_head_since_the_bridge_knows_the_provider() -> None:
    body = json.dumps({"messages": [HELLO]}).encode()
    found = salt_in_head(body)
    assert found is not None
    assert found == salt_in_head(json.dumps({"messages": [HELLO, REPLY, MORE]}).encode())
    head = request_head(httpx2.Request("POST", ALL_MODELS), INJECTED, found)
    assert [header.value for header in head.headers if header.name == b"blindrelay-cache-salt"] == [
        found.encode()
    ]
    assert sealed({"messages": [HELLO]}, ALL_MODELS, INJECTED) == {"messages": [HELLO]}


def test_head_has_no_salt_that_nobody_needs() -> None:
    body = json.dumps({"messages": [HELLO]}).encode()
    for connection in (BROUGHT, replace(INJECTED, cache_salt=None)):
        assert salt_in_head(body, connection) is None
    for url in (ALL_MODELS.replace("chat/completions", "embeddings"), VLLM):
        assert salt_in_head(body, url=url) is None
    assert salt_in_head(b"not JSON") is None
    assert salt_in_head(iter([body])) is None


@pytest.mark.parametrize("key", ["messages", "input"])
def test_conversation_keeps_its_salt(key: str) -> None:
    first = salt(SYSTEM, HELLO, key=key)
    assert len(bytes.fromhex(first)) == 32
    assert first == salt(SYSTEM, HELLO, REPLY, MORE, key=key)
    assert len({first, *(salt(*begun, key=key) for begun in ([SYSTEM, MORE], [HELLO], [MORE]))}) == 4


def test_continued_prompt_keeps_its_salt() -> None:
    begun, other = "a" * cache_salt.BEGINNING, "b" * cache_salt.BEGINNING
    prompts = (begun, begun + " and more", other)
    first, same, different = (sealed({"prompt": prompt})["cache_salt"] for prompt in prompts)
    assert first == same != different


def test_salt_depends_on_token_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another customer in this process nor another process makes the same."""
    mine = salt(HELLO)
    assert salt(HELLO, connection=replace(SALTING, token="other")) != mine
    monkeypatch.setattr(cache_salt, "_KEY", bytes(32))
    assert salt(HELLO) != mine
