"""Which calls each preset lets through, with either kind of credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.client import SealedTransport
from blindrelay.client.provider_apis import OFFICIAL
from blindrelay.provider_bridge.policy.urls import parse_url
from blindrelay.provider_bridge.presets import preset_at, presets
from blindrelay.provider_bridge.providers import CallError, parse_calls

from .conftest import provider_at


def allows(preset: str, call: str, *, brought: bool = False) -> bool:
    method, _, path = call.partition(" ")
    provider = provider_at("http://127.0.0.1:1", preset)
    return provider.find_call(method, path, brought=brought) is not None


STATELESS = {
    "openai": """POST /v1/chat/completions, POST /v1/completions, POST /v1/responses, POST /v1/embeddings,
        POST /v1/audio/speech, POST /v1/audio/transcriptions, POST /v1/images/generations,
        POST /v1/moderations, POST /v1/responses/input_tokens, GET /v1/models, GET /v1/models/gpt-4o""",
    "anthropic": "POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models/claude-1",
    "gemini": """POST /v1beta/models/gemini-2.5-pro:generateContent, POST /v1/models/m:streamGenerateContent,
        POST /v1alpha/models/gemini-3:batchEmbedContents, GET /v1alpha/models,
        POST /v1beta/openai/chat/completions""",
    "mistral": "POST /v1/audio/speech, POST /v1/fim/completions, POST /v1/ocr, GET /v1/models/mistral-large",
    "cohere": "POST /v2/chat, POST /v2/embed, POST /v2/rerank, POST /v1/tokenize, GET /v1/models",
    "azure": "POST /openai/v1/chat/completions, POST /openai/deployments/gpt-4o/chat/completions",
    "openrouter": "POST /api/v1/chat/completions, GET /api/v1/models/meta-llama/llama-3-8b:free/endpoints",
    "deepseek": "POST /chat/completions, POST /v1/chat/completions",
    "ollama": "POST /api/chat, GET /v1/models/llama3:8b",
    "bedrock": """POST /model/anthropic.claude-3-5-sonnet-20240620-v1:0/converse,
        POST /model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a-v1%3A0/invoke""",
    "groq": "POST /openai/v1/chat/completions",
    "fireworks": "POST /inference/v1/chat/completions",
    **dict.fromkeys(["xai", "together", "cerebras", "vllm", "llamacpp"], "POST /v1/chat/completions"),
}
STATEFUL = {
    "openai": """GET /v1/responses/resp_1, DELETE /v1/responses/resp_1, POST /v1/responses/resp_1/cancel,
        GET /v1/files, POST /v1/files, GET /v1/files/file-1/content, POST /v1/batches, POST /v1/assistants,
        POST /v1/conversations, GET /v1/chat/completions, GET /v1/chat/completions/c, DELETE /v1/models/m""",
    "anthropic": "POST /v1/messages/batches, GET /v1/files",
    "gemini": """GET /v1beta/cachedContents, POST /v1beta/cachedContents, POST /v1alpha/cachedContents,
        POST /v1beta/models/gemini-2.5-pro:batchGenerateContent, POST /v1beta/models/veo:predictLongRunning,
        POST /v1beta/models/m:batchGenerateContent:generateContent, GET /v1beta/models/m/operations/o,
        POST /v1beta/models/m:batchGenerateContent%3AgenerateContent, POST /v1beta/openai/files""",
    "mistral": "POST /v1/files, POST /v1/conversations, POST /v1/agents/completions",
    "cohere": "POST /v1/chat, POST /v1/datasets",
    "azure": "GET /openai/v1/files",
    "openrouter": "GET /api/v1/credits, GET /api/v1/models/user",
    "ollama": "GET /api/ps",
    "vllm": "POST /v1/messages",
    "deepseek": "POST /anthropic/v1/messages",
    "cerebras": "POST /v1/files, GET /v1/files/f, POST /v1/batches",
    "bedrock": "POST /model/a/b/invoke",
}


@pytest.mark.parametrize(
    ("preset", "call", "stateless"),
    [
        (preset, call.strip(), table is STATELESS)
        for table in (STATELESS, STATEFUL)
        for preset, row in table.items()
        for call in row.split(",")
    ],
)
def test_stateful_call_needs_a_brought_credential(preset: str, call: str, stateless: bool) -> None:
    assert [allows(preset, call, brought=brought) for brought in (False, True)] == [stateless, True]


def test_unknown_call_never_passes() -> None:
    for call in ("PUT /v1/models", "POST /admin", "GET /v2/models", "GET /v1"):
        assert not allows("openai", call, brought=True)


TEMPLATES = {
    "/v1.0/models/{model}:run": (["m.1:run"], ["m:run/x", "m:walk"]),
    "/v1.0/models/{model}": (["m"], ["a/b", "a:b", "a%3Ab", ""]),
    "/v1.0/models/{+model}/invoke": (["a%2Fb:1/invoke"], ["a/b/invoke"]),
}


@pytest.mark.parametrize(("template", "ends"), TEMPLATES.items())
def test_template_matches_whole_paths(template: str, ends: tuple[list[str], list[str]]) -> None:
    (call,) = parse_calls([f"POST {template}"])
    for matches, path in [(True, end) for end in ends[0]] + [(False, end) for end in ends[1]]:
        assert call.matches("POST", f"/v1.0/models/{path}", tunnel=False) is matches
        assert not call.matches("GET", f"/v1.0/models/{path}", tunnel=False)
        assert not call.matches("POST", f"/x/v1.0/models/{path}", tunnel=False)
        assert not call.matches("POST", f"/v1a0/models/{path}", tunnel=False)


def test_model_name_may_have_colons_and_slashes_and_no_other_escapes() -> None:
    for model in (
        *("gpt-4o", "llama3:8b", "ft:gpt-4o-mini-2024-07-18:org::id", "ft%3Agpt-4o%3Aorg%3A%3Aid"),
        *("org/name", "org%2Fname", "org%2fname", "org/name:free", "hf.co/org/name-GGUF:Q4_K_M"),
        *("accounts/fireworks/models/m", "~org/name@latest", "name%40latest"),
    ):
        assert allows("openai", "GET " + parse_url(f"https://api.openai.com/v1/models/{model}").path)
    for model in ("", "a%20b", "a%252Fb", "a%3Fb", "a%23b", "a%0Ab", "a%25"):
        assert not allows("openai", f"GET /v1/models/{model}")


def test_base_moves_a_presets_paths() -> None:
    moved = preset_at("openai", "/openai/v1")
    call = next(call for call in moved.injected if call.path.pattern.endswith("/chat/completions"))
    assert call.matches("POST", "/openai/v1/chat/completions", tunnel=False)
    assert not call.matches("POST", "/v1/chat/completions", tunnel=False)
    for path, matched in (("/openai/v1/files", True), ("/v1/files", False)):
        assert any(call.matches("GET", path, tunnel=False) for call in moved.brought) is matched
    for base in ("/", "v1", "/v1/", "//v1", "/a/../b", "/a/.", "/{x}", "/a%2Fb", "/a*", "/a b"):
        with pytest.raises(CallError, match="is not a path"):
            preset_at("openai", base)


def test_entry_is_for_tunnels_or_for_exchanges() -> None:
    exchange, tunnel = parse_calls(["GET /v1/live", "GET /v1/live websocket"])
    assert [exchange.matches("GET", "/v1/live", tunnel=each) for each in (False, True)] == [True, False]
    assert [tunnel.matches("GET", "/v1/live", tunnel=each) for each in (False, True)] == [False, True]


def test_malformed_entry_is_refused() -> None:
    for entry in (
        *("", "POST", "POST v1/chat", "post /v1/chat", "CONNECT /v1/chat", "POST /v1//chat"),
        *("POST /v1/chat/", "POST /v1/*/chat", "POST /v1/chat*", "POST /v1/{Model}", "POST /v1/chat multi"),
        *("POST  /v1/chat", "POST /v1/(.*)", "POST /v1/{+model}:run", "POST /v1/x{+model}"),
    ):
        with pytest.raises(CallError):
            parse_calls([entry])


def test_preset_keeps_caches_apart_as_its_provider_can() -> None:
    assert {name: preset.cache for name, preset in presets().items() if preset.cache} == {
        "deepseek": {"cache_salt": "user_id"},
        "fireworks": {"cache_salt": "prompt_cache_isolation_key"},
        "llamacpp": {"cache_controls": "refuse"},
        "vllm": {"cache_salt": "cache_salt"},
    }


def test_client_and_bridge_know_the_same_origins() -> None:
    origins = {name: preset.origin for name, preset in presets().items() if preset.origin is not None}
    official = {name: parse_url(url.partition("/v")[0] + "/x").origin for name, url in OFFICIAL.items()}
    assert {name: origin for name, origin in origins.items() if not origin.is_loopback} == official
    assert str(official["openai"]) == "https://api.openai.com"


def test_pages_have_every_name() -> None:
    docs = Path(__file__).parents[2] / "docs"
    operations, endpoint = ((docs / page).read_text() for page in ("operations.md", "endpoint.md"))
    docstring = SealedTransport.base_url.__doc__ or ""
    rows = {name for name in presets() if f"| `{name}`" in operations or f", `{name}`" in operations}
    assert rows == set(presets())
    assert [name for name in OFFICIAL if f"`{name}`" not in endpoint or name not in docstring] == []


def test_credential_has_the_providers_form() -> None:
    own = {"anthropic": (b"x-api-key", b""), "azure": (b"api-key", b""), "gemini": (b"x-goog-api-key", b"")}
    for name, preset in presets().items():
        form = own.get(name, (b"authorization", b"Bearer "))
        assert (preset.credential.header, preset.credential.prefix) == form, name
