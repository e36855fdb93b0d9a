"""The salt that separates the prompts of clients in a provider's cache."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from blindrelay.client import ConnectionConfig, cache_salt
from blindrelay.client.store_false import stateless_body, stateless_message
from blindrelay.trust import IdentityKey, format_identity

IDENTITY = format_identity(IdentityKey.generate().public_key)
PLAIN = ConnectionConfig.from_string(f"blindrelay://t@relay.example?bridge={IDENTITY}")
NAMED = replace(PLAIN, cache_salt=frozenset({"models.example"}))
BROUGHT = ConnectionConfig.from_string(
    f"blindrelay://t@relay.example?bridge={IDENTITY}&credentials=brought&cache_salt=models.example"
)
VLLM = "https://models.example/v1/chat/completions"
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello"}
REPLY = {"role": "assistant", "content": "Hello."}
MORE = {"role": "user", "content": "Go on."}


def sealed(body: dict[str, Any], url: str = VLLM, connection: ConnectionConfig = NAMED) -> dict[str, Any]:
    request = httpx2.Request("POST", url, json=body)
    content: dict[str, Any] = json.loads(stateless_body(request, connection) or b"")
    return content


def salt(*messages: dict[str, str], connection: ConnectionConfig = NAMED) -> str:
    found: str = sealed({"messages": list(messages)}, connection=connection)["cache_salt"]
    return found


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (VLLM, "cache_salt"),
        ("https://models.example/v1/completions", "cache_salt"),
        ("https://models.example/v1/responses", "cache_salt"),
        ("https://api.deepseek.com/chat/completions", "user_id"),
        ("https://api.fireworks.ai/inference/v1/chat/completions", "prompt_cache_isolation_key"),
        ("https://api.deepseek.com.blindrelay.invalid/chat/completions", "user_id"),
        ("https://models.example.blindrelay.invalid/v1/responses", "cache_salt"),
        ("https://models.example/v1/embeddings", None),
        ("https://other.example/v1/chat/completions", None),
        ("https://api.openai.com/v1/chat/completions", None),
        ("https://api.anthropic.com/v1/messages", None),
    ],
)
def test_salt_is_added_where_the_api_has_a_field(url: str, field: str | None) -> None:
    added = sealed({"model": "m"}, url).keys() - {"model", "store"}
    assert added == ({field} if field else set())
    assert sealed({"model": "m"}, url, replace(NAMED, cache_salt=None)).keys() <= {"model", "store"}
    assert sealed({"model": "m"}, url, BROUGHT) == {"model": "m"}


def test_salt_has_32_bytes() -> None:
    assert len(bytes.fromhex(salt(HELLO))) == 32


def test_conversation_keeps_its_salt() -> None:
    assert salt(SYSTEM, HELLO) == salt(SYSTEM, HELLO, REPLY, MORE)
    assert len({salt(SYSTEM, HELLO), salt(SYSTEM, MORE), salt(HELLO), salt(MORE)}) == 4


@pytest.mark.parametrize("key", ["prompt", "input"])
def test_continued_prompt_keeps_its_salt(key: str) -> None:
    url = "https://models.example/v1/completions"
    begun, other = "a" * cache_salt.BEGINNING, "b" * cache_salt.BEGINNING
    first = sealed({"prompt": begun}, url)["cache_salt"]
    assert sealed({"prompt": begun + " and more"}, url)["cache_salt"] == first
    assert sealed({"prompt": other}, url)["cache_salt"] != first


def test_salt_depends_on_token_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another customer in this process nor another process makes the same."""
    mine = salt(HELLO)
    assert salt(HELLO, connection=replace(NAMED, token="other")) != mine
    monkeypatch.setattr(cache_salt, "_KEY", bytes(32))
    assert salt(HELLO) != mine


def test_existing_salt_is_kept() -> None:
    assert sealed({"cache_salt": "mine"})["cache_salt"] == "mine"


def test_salt_is_added_beside_store() -> None:
    body = b' {"input": "x", "a": 1e400}'
    request = httpx2.Request("POST", "https://models.example/v1/responses", content=body)
    assert (stateless_body(request, NAMED) or b"").startswith(b'{"store":false,"cache_salt":"')
    assert (stateless_body(request, NAMED) or b"").endswith(b',"input": "x", "a": 1e400}')


@pytest.mark.parametrize("host", ["models.example", "models.example.blindrelay.invalid"])
def test_only_requests_on_a_websocket_are_salted(host: str) -> None:
    request = httpx2.Request("GET", f"wss://{host}/v1/responses")
    asked = stateless_message(b'{"type":"response.create"}', request, NAMED)
    assert json.loads(asked).keys() == {"type", "store", "cache_salt"}
    assert stateless_message(b'{"type":"other"}', request, NAMED) == b'{"type":"other"}'


def test_salt_is_added_beside_a_store_of_null() -> None:
    body = b'{"store": null, "input": "x"}'
    request = httpx2.Request("POST", "https://models.example/v1/responses", content=body)
    completed = stateless_body(request, NAMED) or b""
    assert json.loads(completed).keys() == {"store", "input", "cache_salt"}
    assert completed.endswith(b',"store": false, "input": "x"}')


def test_salt_replaces_null() -> None:
    body = b'{"cache_salt" : null, "messages": []}'
    completed = stateless_body(httpx2.Request("POST", VLLM, content=body), NAMED) or b""
    assert completed == b'{"cache_salt" : "%s", "messages": []}' % salt().encode()
