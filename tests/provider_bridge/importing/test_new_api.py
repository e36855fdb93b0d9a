"""The channels of new-api become a bridge.toml."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blindrelay.provider_bridge import read_bridge_config

from .conftest import Import


def channel(**values: Any) -> dict[str, Any]:
    """A row of the table, as new-api has it."""
    return {"id": 1, "type": 1, "key": "sk-1", "status": 1, "name": "c", "models": "m", **values}


def test_channels_become_providers_and_targets(run_import: Import) -> None:
    pool = {"is_multi_key": True, "multi_key_status_list": {"1": 3}}
    result = run_import(
        json.dumps(
            [
                channel(models="gpt-4o,gpt-4o-mini", weight=3, priority=10),
                channel(id=2, key="sk-2", base_url="https://other.example", weight=1, priority=10),
                channel(id=3, models="gpt-4o", key="a\nb\nc", channel_info=pool, priority=0),
                channel(id=4, type=14, key="sk-4", models="claude", model_mapping='{"claude":"x","x":"y"}'),
            ]
        )
    )
    assert (result.code, result.notes) == (0, [])
    assert result.targets == {
        "gpt-4o": [("openai", "gpt-4o", 3, 0), ("openai-3", "gpt-4o", 1, 1)],
        "gpt-4o-mini": [("openai", "gpt-4o-mini", 1, 0)],
        "m": [("openai-2", "m", 1, 0)],
        "claude": [("anthropic", "y", 1, 0)],
    }
    assert result.providers["openai-2"]["base"] == "/v1"
    assert result.providers["openai-3"]["credentials"] == [
        {"name": "1", "file": "openai-3-1.key"},
        {"name": "2", "file": "openai-3-2.key"},
    ]
    assert [(result.folder / f"openai-3-{number}.key").read_text() for number in (1, 2)] == ["a\n", "c\n"]


@pytest.mark.parametrize("wrapped", ['{"data": %s}', '{"success": true, "data": {"items": %s, "total": 1}}'])
def test_answer_of_the_api_is_a_list_too(wrapped: str, run_import: Import) -> None:
    assert list(run_import(wrapped % json.dumps([channel()])).targets) == ["m"]


NOT_TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "disabled": ({"status": 3}, "it is disabled"),
    "another kind": ({"type": 2}, "no preset for channels of type 2"),
    "no number": ({"type": ["1"]}, "its type is not a number"),
    "no key": ({"key": ""}, "it has no key"),
    "no models": ({"models": " ,"}, "it has no models"),
    "no resource": ({"type": 3}, "it has no base_url"),
    "not a whole URL": ({"type": 8, "base_url": "https://a.example"}, "does not end in /chat/completions"),
    "mapping": ({"model_mapping": "{"}, "its model_mapping is not JSON"),
    "priority": ({"priority": "high"}, "its priority is not an integer"),
}


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_channel_that_cannot_be_taken_is_named_with_its_reason(kind: str, run_import: Import) -> None:
    values, reason = NOT_TAKEN[kind]
    result = run_import(json.dumps([channel(**values), channel(id=2, models="good")]))
    assert list(result.targets) == ["good"]
    (note,) = result.notes
    assert note.startswith("channel 1 (c): not taken: ")
    assert reason in note


ADDRESSES: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "the provider's own": ({"base_url": "https://api.openai.com/"}, None, None),
    "another": ({"base_url": "https://a.example/x"}, "https://a.example", "/x/v1"),
    "a whole URL": (
        {"type": 8, "base_url": "https://a.example/v2/chat/completions"},
        "https://a.example",
        "/v2",
    ),
    "a compatible provider": ({"type": 25}, "https://api.moonshot.cn", "/v1"),
    "Ollama": ({"type": 4, "key": "", "base_url": "http://localhost:11434"}, None, None),
    "Azure": ({"type": 3, "base_url": "https://eu.openai.azure.com"}, "https://eu.openai.azure.com", None),
}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_address_is_the_one_that_new_api_calls(kind: str, run_import: Import) -> None:
    values, origin, base = ADDRESSES[kind]
    (provider,) = run_import(json.dumps([channel(**values)])).providers.values()
    assert (provider.get("origin"), provider.get("base")) == (origin, base)


def test_weight_0_is_never_chosen_beside_a_higher_one(run_import: Import) -> None:
    result = run_import(
        json.dumps(
            [channel(weight=0), channel(id=2, key="sk-2", weight=5), channel(id=3, models="n", weight=0)]
        )
    )
    assert result.targets == {"m": [("openai", "m", 1, 0)], "n": [("openai-2", "n", 1, 0)]}
    assert result.notes == ["m at openai: not taken: its weight is 0 beside others"]


def test_a_pool_has_as_many_keys_as_the_bridge_takes(run_import: Import) -> None:
    keys = "\n".join(f"sk-{number}" for number in range(70))
    result = run_import(json.dumps([channel(key=keys, channel_info='{"is_multi_key": true}')]))
    assert len(result.providers["openai"]["credentials"]) == 64
    assert result.notes == ["channel 1 (c): without the keys after the 64th that is enabled"]
    read_bridge_config(result.folder / "bridge.toml", {})


def test_what_changes_requests_is_left_out_with_a_line(run_import: Import) -> None:
    result = run_import(json.dumps([channel(param_override='{"temperature":0}', group="vip", setting="{}")]))
    assert result.notes == ["channel 1 (c): without param_override, group vip"]
