"""Salts and cache controls in bodies, for a cache that all customers share."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.provider_bridge.stateless.description import Description, api_description
from blindrelay.provider_bridge.stateless.json_check import StoredObjectError, check_json

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
EPHEMERAL = {"type": "ephemeral"}
CACHED = {"type": "text", "text": "t", "cache_control": EPHEMERAL}
BREAKPOINT: dict[str, Any] = {"prompt_cache_breakpoint": {}}
CONVERSE = "/model/m/converse"
SALT = "a" * 32


def said(**block: Any) -> dict[str, Any]:
    return {"role": "user", "content": [block]}


def judged(body: dict[str, Any], path: str = CHAT, api: str = "openai", **cache: str) -> None:
    description: Description = api_description(api).extended(cache)
    rule = description.rule("messages" if "type" in body else "bodies", path)
    assert rule is not None
    check_json(body, rule)


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", RESPONSES])
def test_salt_is_long_and_a_string(path: str) -> None:
    body = {"store": False} if path == RESPONSES else {}
    for salt in (None, "", 7, False, "a" * 31, "a" * 513, "a b" * 20, [SALT], {"a": SALT}):
        with pytest.raises(StoredObjectError, match=r"cache_salt is .*it must be a secret"):
            judged(body | {"cache_salt": salt}, path, "self_hosted", cache_salt="cache_salt")


def test_salt_is_needed_where_prompts_are_cached_alone() -> None:
    judged({"cache_salt": SALT}, api="self_hosted", cache_salt="cache_salt")
    judged({"input": "x"}, "/v1/embeddings", cache_salt="cache_salt")
    judged({}, cache_salt="off")
    asked = {"type": "response.create", "store": False}
    judged(asked | {"s": SALT}, RESPONSES, cache_salt="s")
    with pytest.raises(StoredObjectError, match="s is missing: it must be a secret"):
        judged(asked, RESPONSES, cache_salt="s")


@pytest.mark.parametrize(
    ("api", "path", "body"),
    [
        ("self_hosted", CHAT, {"cache_prompt": True}),
        ("self_hosted", CHAT, {"n_cache_reuse": 1}),
        ("self_hosted", "/completion", {"cache_prompt": True}),
        ("self_hosted", MESSAGES, {"cache_control": EPHEMERAL}),
        ("openai", CHAT, {"prompt_cache_key": "k"}),
        ("openai", CHAT, {"prompt_cache_retention": "in_memory"}),
        ("openai", CHAT, {"prompt_cache_options": {"mode": "implicit"}}),
        ("openai", RESPONSES, {"store": False, "prompt_cache_key": "k"}),
        ("openai", "/v1/responses/compact", {"prompt_cache_key": "k"}),
        ("openai", RESPONSES, {"type": "response.create", "store": False, "prompt_cache_key": "k"}),
        ("openai", RESPONSES, {"store": False, "input": [said(type="input_text", **BREAKPOINT)]}),
        ("mistral", "/v1/fim/completions", {"prompt_cache_key": "k"}),
        ("fireworks", CHAT, {"prompt_cache_max_len": 1}),
        ("openrouter", CHAT, {"cache_control": EPHEMERAL}),
        ("anthropic", MESSAGES, {"cache_control": EPHEMERAL}),
        ("anthropic", MESSAGES, {"system": [CACHED]}),
        ("anthropic", MESSAGES, {"tools": [{"name": "t", "cache_control": EPHEMERAL}]}),
        ("anthropic", MESSAGES, {"tools": [{"type": "advisor_20260301", "caching": EPHEMERAL}]}),
        ("anthropic", MESSAGES, {"messages": [said(type="tool_result", content=[CACHED])]}),
        ("bedrock", CONVERSE, {"messages": [said(cachePoint={"type": "default"})]}),
        ("bedrock", "/model/m/invoke", {"cache_control": EPHEMERAL}),
    ],
)
def test_cache_controls_are_refused_where_the_operator_says_so(
    api: str, path: str, body: dict[str, Any]
) -> None:
    with pytest.raises(StoredObjectError, match=r"^[A-Za-z_0-9.\[\]]+ controls a cache"):
        judged(body, path, api, cache_controls="refuse")
    judged(body, path, api)


@pytest.mark.parametrize(
    ("api", "path", "body"),
    [
        ("anthropic", MESSAGES, {"diagnostics": {"previous_message_id": "msg_1"}}),
        ("bedrock", CONVERSE, {"guardrailConfig": {"guardrailIdentifier": "g"}}),
        ("bedrock", CONVERSE, {"messages": [said(image={"source": {"s3Location": {"uri": "s3://a/b"}}})]}),
        ("xai", CHAT, {"deferred": True}),
        ("bedrock", "/model/arn:aws:bedrock:us-east-1:1:prompt%2FP:1/converse", {}),
        ("bedrock", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3aprompt%2fP/invoke", {}),
        ("openrouter", CHAT, {"preset": "p"}),
        ("openrouter", CHAT, {"model": "@preset/p"}),
        ("openrouter", CHAT, {"model": "openai/gpt@Preset/p"}),
        ("openrouter", CHAT, {"model": "@preset/p" + " " * 2_000}),
        ("openrouter", CHAT, {"models": ["openai/gpt", ["@preset/p"]]}),
        ("openrouter", "/v1/responses", {"model": "@preset/p", "store": False}),
        ("openrouter", MESSAGES, {"fallbacks": [{"model": "@preset/p"}]}),
        ("cohere", "/v1/classify", {"preset": "p"}),
    ],
)
def test_references_are_refused_even_where_controls_pass(api: str, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(StoredObjectError, match="Leave it out, or bring your own credential"):
        judged(body, path, api, cache_controls="pass")


ROUTER = "/model/arn:aws:bedrock:us-east-1:1:default-prompt-router%2Fanthropic.x:1/converse"


@pytest.mark.parametrize(
    ("api", "path", "body"),
    [
        ("anthropic", CHAT, {"prompt_cache_key": None, "prompt_cache_options": None}),
        ("anthropic", CHAT, {"metadata": {"cache_control": "mine"}}),
        ("anthropic", CHAT, {"messages": [{"role": "user", "content": "cache_prompt"}]}),
        ("anthropic", MESSAGES, {"messages": [said(type="tool_use", input={"cache_control": "x"})]}),
        ("anthropic", MESSAGES, {"tools": [{"input_schema": {"properties": {"cache_control": {}}}}]}),
        ("bedrock", ROUTER, {}),
        ("openrouter", CHAT, {"model": "openai/gpt:online", "models": ["a/b", "c/d"]}),
    ],
)
def test_what_looks_like_a_control_or_a_reference_passes(api: str, path: str, body: dict[str, Any]) -> None:
    judged(body, path, api, cache_controls="refuse")
