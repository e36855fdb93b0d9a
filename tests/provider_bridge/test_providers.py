"""Allow-lists: what each preset lets through with each kind of credential."""

from __future__ import annotations

import pytest

from blindrelay.provider_bridge.presets import presets
from blindrelay.provider_bridge.providers import CallError, parse_calls
from blindrelay.provider_bridge.url_policy import parse_url

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
    assert not allows("openai", "GET", f"/v1/models/{model}")


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
    ],
)
def test_an_entry_that_is_none(entry: str) -> None:
    with pytest.raises(CallError):
        parse_calls([entry])


def test_only_uploads_take_multipart() -> None:
    multipart = {
        call.path.pattern for preset in presets().values() for call in preset.injected if call.multipart
    }
    assert multipart == {
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/images/edits",
        "/v1/images/variations",
    }


@pytest.mark.parametrize(
    ("preset", "header", "prefix"),
    [
        ("openai", b"authorization", b"Bearer "),
        ("anthropic", b"x-api-key", b""),
        ("gemini", b"x-goog-api-key", b""),
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
