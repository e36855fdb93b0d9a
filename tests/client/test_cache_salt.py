"""The salt that separates the prompts of clients in a provider's cache."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from blindrelay.client import ConnectionConfig, cache_salt
from blindrelay.client.store_false import stateless_body

from .conftest import BROUGHT, INJECTED

NAMED = replace(INJECTED, cache_salt=frozenset({"models.example"}))
VLLM = "https://models.example/v1/chat/completions"
SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "user", "content": "Hello"}
REPLY = {"role": "assistant", "content": "Hello."}
MORE = {"role": "user", "content": "Go on."}


def sealed(body: dict[str, Any], url: str = VLLM, connection: ConnectionConfig = NAMED) -> dict[str, Any]:
    request = httpx2.Request("POST", url, json=body)
    content: dict[str, Any] = json.loads(stateless_body(request, connection) or b"")
    return content


def salt(*messages: dict[str, str], key: str = "messages", connection: ConnectionConfig = NAMED) -> str:
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
    assert sealed({"model": "m"}, url, replace(NAMED, cache_salt=None)).keys() <= {"model", "store"}
    assert sealed({"model": "m"}, url, replace(BROUGHT, cache_salt=NAMED.cache_salt)) == {"model": "m"}


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
    assert salt(HELLO, connection=replace(NAMED, token="other")) != mine
    monkeypatch.setattr(cache_salt, "_KEY", bytes(32))
    assert salt(HELLO) != mine
