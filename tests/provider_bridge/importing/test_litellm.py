"""LiteLLM's config.yaml becomes a bridge.toml."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Import

WHOLE = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      {model: azure/gpt4o-eu, api_base: "https://eu.openai.azure.com/", api_key: os.environ/AZURE,
       api_version: "2024-10-21", weight: 1, order: 2, rpm: 600}
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o-2024-11-20, api_key: os.environ/OPENAI_KEY, weight: 0.9, order: 1}
  - model_name: gpt-4o
    litellm_params: {model: gpt-4o, api_key: sk-in-clear, weight: 0.3, order: 1}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5}
    model_info: {mode: chat}
  - model_name: anthropic/*
    litellm_params: {model: anthropic/*}
  - model_name: own
    litellm_params: {model: openai/llama, api_base: "https://models.example/openai/v1", api_key: none}
  - model_name: local
    litellm_params: {model: hosted_vllm/qwen, api_base: "http://localhost:8000/v1"}
router_settings:
  model_group_alias: {smart: gpt-4o, clever: {model: gpt-4o, hidden: true}, lost: nobody}
  fallbacks: [{gpt-4o: [claude, local]}, {claude: [nowhere]}]
  routing_strategy: least-busy
litellm_settings: {callbacks: [langfuse]}
general_settings: {master_key: sk-master}
"""


def test_models_keep_their_targets_weights_and_order(run_import: Import) -> None:
    result = run_import(WHOLE)
    assert result.code == 0
    assert result.targets == {
        "gpt-4o": [
            ("azure", "gpt4o-eu", 10, 1),
            ("openai", "gpt-4o-2024-11-20", 9, 0),
            ("openai-2", "gpt-4o", 3, 0),
            ("anthropic", "claude-sonnet-4-5", 10, 2),
            ("vllm", "qwen", 10, 3),
        ],
        "claude": [("anthropic", "claude-sonnet-4-5", 1, 0)],
        "anthropic/*": [("anthropic", "*", 1, 0)],
        "own": [("openai-3", "llama", 1, 0)],
        "local": [("vllm", "qwen", 1, 0)],
    }
    assert result.config["model"][0]["aliases"] == ["smart", "clever"]
    assert result.config["aggregate"] == {}


def test_providers_have_the_right_address_and_key(run_import: Import) -> None:
    result = run_import(WHOLE)
    providers = result.providers
    assert providers["azure"]["origin"] == "https://eu.openai.azure.com"
    assert providers["azure"]["credential"] == {"env": "AZURE"}
    assert providers["openai"] == {"name": "openai", "preset": "openai", "credential": {"env": "OPENAI_KEY"}}
    second = providers["openai-2"]
    assert second["origin"] == "https://openai-2.blindrelay.internal", "an origin belongs to one provider"
    assert second["target"] == "https://api.openai.com"
    assert providers["openai-3"]["origin"] == "https://models.example"
    assert providers["openai-3"]["base"] == "/openai/v1"
    assert providers["anthropic"]["credential"] == {"env": "ANTHROPIC_API_KEY"}
    assert providers["vllm"] == {"name": "vllm", "preset": "vllm", "origin": "http://localhost:8000"}


def test_key_in_clear_goes_to_a_private_file_and_is_never_shown(run_import: Import) -> None:
    result = run_import(WHOLE)
    assert result.providers["openai-2"]["credential"] == {"file": "openai-2.key"}
    file = result.folder / "openai-2.key"
    assert file.read_text().strip() == "sk-in-clear"
    assert file.stat().st_mode & 0o777 == 0o600
    shown = (result.folder / "bridge.toml").read_text() + "".join(result.notes)
    assert "sk-" not in shown


def test_everything_that_is_left_out_has_a_line(run_import: Import) -> None:
    assert run_import(WHOLE).notes == [
        "model_list[0] (gpt-4o): without rpm",
        "router_settings: not taken: routing_strategy",
        "litellm_settings: not taken: callbacks",
        "general_settings: not taken: master_key",
        "fallbacks (claude): not taken: nowhere",
        "model_group_alias (lost): not taken: it names no model, or another one's name",
    ]


NOT_TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no preset": ({"model": "watsonx/granite"}, "the bridge has no preset for watsonx"),
    "signed": ({"model": "bedrock/anthropic.claude-v2"}, "its own API is not OpenAI's"),
    "no provider": ({"model": "llama"}, "it names no provider"),
    "no model": ({"api_key": "sk-x"}, "it needs model_name and litellm_params.model"),
    "no address": ({"model": "azure/gpt"}, "it has no api_base"),
    "address unset": ({"model": "azure/g", "api_base": "os.environ/NOT_SET"}, "in NOT_SET, which is not set"),
    "no URL": ({"model": "openai/g", "api_base": "models.example"}, "its base URL is not a valid URL"),
    "plain http": ({"model": "openai/g", "api_base": "http://10.0.0.7/v1"}, "plain http to another machine"),
    "at the root": ({"model": "openai/g", "api_base": "https://a.example/"}, "at the root of its address"),
    "two stars": ({"model": "openai/*-*"}, "a name has a * that the bridge cannot replace"),
    "a key with spaces": ({"model": "openai/g", "api_key": "{ a }"}, "its key is not printable ASCII"),
    "a model with spaces": ({"model": "openai/g 1"}, "a model's name has spaces"),
    "weight": ({"model": "openai/g", "weight": 0}, "its weight is 0"),
    "weight is text": ({"model": "openai/g", "weight": "2"}, "its weight is not a number"),
    "model is a list": ({"model": ["openai/g"]}, "its model is not a string"),
}


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_entry_that_cannot_be_taken_is_named_with_its_reason(kind: str, run_import: Import) -> None:
    import yaml

    params, reason = NOT_TAKEN[kind]
    entries = [
        {"model_name": "m", "litellm_params": params},
        {"model_name": "good", "litellm_params": {"model": "openai/gpt-4o"}},
    ]
    result = run_import(yaml.safe_dump({"model_list": entries}))
    assert list(result.targets) == ["good"]
    (note,) = result.notes
    assert note.startswith("model_list[0] (m): not taken: ")
    assert reason in note


ADDRESSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the SDK's base": ({"model": "openai/m", "api_base": "https://a.example/v1"}, {"base": "/v1"}),
    "Anthropic's": ({"model": "anthropic/m", "api_base": "https://a.example"}, {"base": "/v1"}),
    "without a prefix": ({"model": "org/m", "api_base": "https://a.example/v1"}, {"base": "/v1"}),
    "Together's": ({"model": "together_ai/m", "api_base": "https://a.example/v1"}, {"base": "/v1"}),
    "vLLM below a path": ({"model": "hosted_vllm/m", "base_url": "https://a.example/x/v1"}, {"base": "/x"}),
    "by its provider": (
        {"model": "m", "custom_llm_provider": "groq", "api_base": "https://a.example/openai/v1"},
        {"preset": "groq", "base": "/openai/v1"},
    ),
    "by a credential": ({"model": "mistral/m", "litellm_credential_name": "c"}, {"credential": {"env": "K"}}),
    "by the environment": ({"model": "azure/m", "api_base": "os.environ/HERE"}, {"preset": "azure"}),
}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_address_and_key_are_those_that_litellm_uses(kind: str, run_import: Import) -> None:
    import yaml

    params, expected = ADDRESSES[kind]
    values = {"api_base": "https://a.example/v1", "api_key": "os.environ/K"}
    config = {
        "model_list": [{"model_name": "m", "litellm_params": params}],
        "credential_list": [{"credential_name": "c", "credential_values": values}],
        "environment_variables": {"HERE": "https://a.example"},
    }
    result = run_import(yaml.safe_dump(config))
    (provider,) = result.providers.values()
    assert provider["origin"] == "https://a.example"
    assert expected.items() <= provider.items()


def test_key_in_the_files_own_environment_is_a_key_in_clear(run_import: Import) -> None:
    result = run_import(
        "environment_variables: {K: sk-hidden}\n"
        "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: os.environ/K}}]"
    )
    assert result.providers["openai"]["credential"] == {"file": "openai.key"}
    assert (result.folder / "openai.key").read_text().strip() == "sk-hidden"
