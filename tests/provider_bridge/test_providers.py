"""Allow-lists: what each preset lets through with each kind of credential."""

from __future__ import annotations

import pytest

from blindrelay.client.provider_apis import OFFICIAL
from blindrelay.provider_bridge.policy.urls import parse_url
from blindrelay.provider_bridge.presets import preset_at, presets
from blindrelay.provider_bridge.providers import CallError, parse_calls

from .conftest import provider_at


def allows(preset: str, method: str, path: str, *, brought: bool = False) -> bool:
    provider = provider_at("http://127.0.0.1:1", preset)
    return provider.find_call(method, path, brought=brought) is not None


@pytest.mark.parametrize(
    ("preset", "method", "path"),
    [
        ("openai", "POST", "/v1/chat/completions"),
        ("openai", "POST", "/v1/completions"),
        ("openai", "POST", "/v1/responses"),
        ("openai", "POST", "/v1/embeddings"),
        ("openai", "POST", "/v1/audio/speech"),
        ("openai", "POST", "/v1/audio/transcriptions"),
        ("openai", "POST", "/v1/images/generations"),
        ("openai", "GET", "/v1/models"),
        ("openai", "GET", "/v1/models/gpt-4o"),
        ("anthropic", "POST", "/v1/messages"),
        ("anthropic", "POST", "/v1/messages/count_tokens"),
        ("anthropic", "GET", "/v1/models/claude-1"),
        ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:generateContent"),
        ("gemini", "POST", "/v1/models/gemini-2.5-pro:streamGenerateContent"),
        ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:countTokens"),
        ("gemini", "POST", "/v1beta/models/text-embedding:embedContent"),
        ("gemini", "GET", "/v1beta/models"),
        ("gemini", "POST", "/v1beta/openai/chat/completions"),
        ("openai", "POST", "/v1/moderations"),
        ("openai", "POST", "/v1/responses/input_tokens"),
        ("mistral", "POST", "/v1/audio/speech"),
        ("mistral", "POST", "/v1/fim/completions"),
        ("cohere", "POST", "/v2/rerank"),
        ("cohere", "POST", "/v1/tokenize"),
        ("cohere", "GET", "/v1/models"),
        ("azure", "POST", "/openai/v1/chat/completions"),
        ("azure", "POST", "/openai/deployments/gpt-4o/chat/completions"),
        ("groq", "POST", "/openai/v1/chat/completions"),
        ("openrouter", "POST", "/api/v1/chat/completions"),
        ("openrouter", "GET", "/api/v1/models/meta-llama/llama-3-8b:free/endpoints"),
        ("deepseek", "POST", "/chat/completions"),
        ("deepseek", "POST", "/v1/chat/completions"),
        ("xai", "POST", "/v1/responses"),
        ("together", "POST", "/v1/chat/completions"),
        ("fireworks", "POST", "/inference/v1/chat/completions"),
        ("ollama", "POST", "/api/chat"),
        ("ollama", "GET", "/v1/models/llama3:8b"),
        ("vllm", "POST", "/v1/chat/completions"),
        ("llamacpp", "POST", "/v1/messages"),
        ("bedrock", "POST", "/model/anthropic.claude-3-5-sonnet-20240620-v1:0/converse"),
        ("bedrock", "POST", "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/invoke"),
        (
            "bedrock",
            "POST",
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.a-v1%3A0/invoke",
        ),
    ],
)
def test_stateless_calls_need_no_credential_of_ones_own(preset: str, method: str, path: str) -> None:
    assert allows(preset, method, path)
    assert allows(preset, method, path, brought=True)


@pytest.mark.parametrize(
    ("preset", "method", "path"),
    [
        ("openai", "GET", "/v1/responses/resp_1"),
        ("openai", "DELETE", "/v1/responses/resp_1"),
        ("openai", "POST", "/v1/responses/resp_1/cancel"),
        ("openai", "GET", "/v1/files"),
        ("openai", "POST", "/v1/files"),
        ("openai", "GET", "/v1/files/file-1/content"),
        ("openai", "POST", "/v1/batches"),
        ("openai", "POST", "/v1/assistants"),
        ("openai", "POST", "/v1/conversations"),
        ("openai", "GET", "/v1/chat/completions"),
        ("openai", "GET", "/v1/chat/completions/id"),
        ("openai", "DELETE", "/v1/models/mine"),
        ("anthropic", "POST", "/v1/messages/batches"),
        ("anthropic", "GET", "/v1/files"),
        ("gemini", "GET", "/v1beta/cachedContents"),
        ("gemini", "POST", "/v1beta/cachedContents"),
        ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:batchGenerateContent"),
        ("gemini", "POST", "/v1beta/models/m:batchGenerateContent:generateContent"),
        ("gemini", "POST", "/v1beta/models/m:batchGenerateContent%3AgenerateContent"),
        ("gemini", "GET", "/v1beta/models/m/operations/o"),
        ("gemini", "POST", "/v1beta/openai/files"),
        ("azure", "GET", "/openai/v1/files"),
        ("openrouter", "GET", "/api/v1/credits"),
        ("openrouter", "GET", "/api/v1/models/user"),
        ("ollama", "GET", "/api/ps"),
        ("vllm", "POST", "/v1/messages"),
        ("deepseek", "POST", "/anthropic/v1/messages"),
        ("bedrock", "POST", "/model/a/b/invoke"),
    ],
)
def test_stateful_calls_do(preset: str, method: str, path: str) -> None:
    assert not allows(preset, method, path)
    assert allows(preset, method, path, brought=True)


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/models"), ("POST", "/admin"), ("GET", "/v2/models"), ("GET", "/v1")]
)
def test_and_the_rest_is_never_called(method: str, path: str) -> None:
    assert not allows("openai", method, path, brought=True)


@pytest.mark.parametrize("model", ["a/b", "a:b", "a%3Ab", ""])
def test_a_parameter_is_one_part_of_one_segment(model: str) -> None:
    (call,) = parse_calls(["GET /v1/models/{model}"])
    assert not call.matches("GET", f"/v1/models/{model}", tunnel=False)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "llama3:8b",
        "ft:gpt-4o-mini-2024-07-18:org::id",
        "ft%3Agpt-4o%3Aorg%3A%3Aid",
        "org/name",
        "org%2Fname",
        "org%2fname",
        "org/name:free",
        "hf.co/org/name-GGUF:Q4_K_M",
        "accounts/fireworks/models/m",
        "~org/name@latest",
        "name%40latest",
    ],
)
def test_a_name_may_have_colons_and_slashes(model: str) -> None:
    assert allows("openai", "GET", parse_url(f"https://api.openai.com/v1/models/{model}").path)


@pytest.mark.parametrize("model", ["", "a%20b", "a%252Fb", "a%3Fb", "a%23b", "a%0Ab", "a%25"])
def test_a_name_has_no_other_escapes(model: str) -> None:
    assert not allows("openai", "GET", f"/v1/models/{model}")


def test_a_name_in_the_middle_of_a_template_is_one_segment() -> None:
    (call,) = parse_calls(["POST /model/{+model}/invoke"])
    assert call.matches("POST", "/model/a%2Fb:1/invoke", tunnel=False)
    assert not call.matches("POST", "/model/a/b/invoke", tunnel=False)


def test_a_base_moves_a_presets_paths() -> None:
    moved = preset_at("openai", "/openai/v1")
    call = next(call for call in moved.injected if call.path.pattern.endswith("/chat/completions"))
    assert call.matches("POST", "/openai/v1/chat/completions", tunnel=False)
    assert not call.matches("POST", "/v1/chat/completions", tunnel=False)
    assert not any(call.matches("GET", "/v1/files", tunnel=False) for call in moved.brought)


@pytest.mark.parametrize(
    "base", ["/", "v1", "/v1/", "//v1", "/a/../b", "/a/.", "/{x}", "/a%2Fb", "/a*", "/a b"]
)
def test_a_base_is_a_plain_path(base: str) -> None:
    with pytest.raises(CallError, match="is not a path"):
        preset_at("openai", base)


def test_a_template_matches_whole_paths() -> None:
    (call,) = parse_calls(["POST /v1/models/{model}:run"])
    assert call.matches("POST", "/v1/models/m.1:run", tunnel=False)
    assert not call.matches("POST", "/v1/models/m:run/x", tunnel=False)
    assert not call.matches("POST", "/x/v1/models/m:run", tunnel=False)
    assert not call.matches("POST", "/v1/models/m:walk", tunnel=False)
    assert not call.matches("GET", "/v1/models/m:run", tunnel=False)


def test_an_entry_is_for_tunnels_or_for_exchanges() -> None:
    exchange, tunnel = parse_calls(["GET /v1/live", "GET /v1/live websocket"])
    assert exchange.matches("GET", "/v1/live", tunnel=False)
    assert not exchange.matches("GET", "/v1/live", tunnel=True)
    assert tunnel.matches("GET", "/v1/live", tunnel=True)
    assert not tunnel.matches("GET", "/v1/live", tunnel=False)


def test_a_dot_in_a_template_is_a_dot() -> None:
    (call,) = parse_calls(["GET /v1.0/x"])
    assert call.matches("GET", "/v1.0/x", tunnel=False)
    assert not call.matches("GET", "/v1a0/x", tunnel=False)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "POST",
        "POST v1/chat",
        "post /v1/chat",
        "CONNECT /v1/chat",
        "POST /v1//chat",
        "POST /v1/chat/",
        "POST /v1/*/chat",
        "POST /v1/chat*",
        "POST /v1/{Model}",
        "POST /v1/chat multi",
        "POST  /v1/chat",
        "POST /v1/(.*)",
        "POST /v1/{+model}:run",
        "POST /v1/x{+model}",
    ],
)
def test_an_entry_that_is_none(entry: str) -> None:
    with pytest.raises(CallError):
        parse_calls([entry])


def test_only_uploads_take_multipart() -> None:
    multipart = {
        call.path.pattern.rpartition("/")[2]
        for preset in presets().values()
        for call in preset.injected
        if call.multipart
    }
    assert multipart == {"transcriptions", "translations", "edits", "variations"}


@pytest.mark.parametrize(
    ("preset", "cache"),
    [
        ("openai", {}),
        ("vllm", {"cache_salt": "cache_salt"}),
        ("deepseek", {"cache_salt": "user_id"}),
        ("fireworks", {"cache_salt": "prompt_cache_isolation_key"}),
        ("llamacpp", {"cache_controls": "refuse"}),
    ],
)
def test_each_preset_keeps_caches_apart_as_its_provider_can(preset: str, cache: dict[str, str]) -> None:
    assert presets()[preset].cache == cache


def test_client_knows_the_same_origins_by_name() -> None:
    known = {
        name: str(preset.origin)
        for name, preset in presets().items()
        if preset.origin is not None and not preset.origin.is_loopback
    }
    assert known == {
        name: str(parse_url(url.partition("/v")[0] + "/x").origin) for name, url in OFFICIAL.items()
    }


@pytest.mark.parametrize(
    ("preset", "header", "prefix"),
    [
        ("openai", b"authorization", b"Bearer "),
        ("anthropic", b"x-api-key", b""),
        ("gemini", b"x-goog-api-key", b""),
        ("azure", b"api-key", b""),
        ("bedrock", b"authorization", b"Bearer "),
        ("groq", b"authorization", b"Bearer "),
    ],
)
def test_each_provider_gets_its_credential_as_it_wants_it(preset: str, header: bytes, prefix: bytes) -> None:
    credential = presets()[preset].credential
    assert (credential.header, credential.prefix) == (header, prefix)


def test_a_provider_does_not_print_its_credential() -> None:
    assert "sk-secret" not in repr(provider_at("http://127.0.0.1:1", credential=b"sk-secret"))


def test_the_origins_are_the_providers_own() -> None:
    for name, host in (
        ("openai", "api.openai.com"),
        ("anthropic", "api.anthropic.com"),
        ("gemini", "generativelanguage.googleapis.com"),
    ):
        assert presets()[name].origin == parse_url(f"https://{host}/v1").origin
