"""What bodies say to a cache that all customers share."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.provider_bridge.cache_rules import CacheError, check_cache_rules
from blindrelay.provider_bridge.providers import CacheRules

CHAT = "/v1/chat/completions"
SALTED, REFUSED = CacheRules(salt="cache_salt"), CacheRules(controls=False)
EPHEMERAL = {"type": "ephemeral"}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses"])
@pytest.mark.parametrize("salt", [None, "", 7, "a" * 31, "a" * 513, "a b" * 20, ["a" * 32]])
def test_a_salt_is_long_and_a_string(path: str, salt: Any) -> None:
    with pytest.raises(CacheError, match="cache_salt must be a secret"):
        check_cache_rules(SALTED, path, {"cache_salt": salt})


def test_a_salt_is_needed_where_prompts_are_cached() -> None:
    check_cache_rules(SALTED, CHAT, {"cache_salt": "a" * 32})
    check_cache_rules(SALTED, "/v1/embeddings", {})
    check_cache_rules(CacheRules(), CHAT, {})


@pytest.mark.parametrize(
    "body",
    [
        {"cache_prompt": True},
        {"id_slot": 0},
        {"n_cache_reuse": 1},
        {"prompt_cache_key": "k"},
        {"prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "implicit"}},
        {"cache_control": EPHEMERAL},
        {"cachedContent": "cachedContents/1"},
        {"Prompt_Cache_Key": "k"},
        {"system": [{"type": "text", "text": "t", "cache_control": EPHEMERAL}]},
        {"tools": [{"name": "t", "cache_control": EPHEMERAL}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "cache_control": EPHEMERAL}]}]},
        {"messages": [{"content": [{"type": "tool_result", "content": [{"cache_control": EPHEMERAL}]}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "prompt_cache_breakpoint": {}}]}]},
        {"type": "response.create", "response": {"prompt_cache_key": "k"}},
    ],
)
def test_controls_are_refused_by_name_where_the_operator_wants_it(body: dict[str, Any]) -> None:
    with pytest.raises(CacheError, match=r"^[A-Za-z_]+ controls a cache"):
        check_cache_rules(REFUSED, CHAT, body)
    check_cache_rules(CacheRules(), CHAT, body)


@pytest.mark.parametrize(
    "body",
    [
        {"cache_prompt": False, "prompt_cache_key": None},
        {"messages": [{"content": [{"type": "tool_use", "input": {"cache_control": "max-age=0"}}]}]},
        {"tools": [{"input_schema": {"properties": {"cache_control": {"type": "string"}}}}]},
        {"metadata": {"cache_control": "mine"}},
        {"messages": [{"role": "user", "content": "cache_prompt"}]},
    ],
)
def test_an_applications_own_words_are_no_controls(body: dict[str, Any]) -> None:
    check_cache_rules(REFUSED, CHAT, body)
