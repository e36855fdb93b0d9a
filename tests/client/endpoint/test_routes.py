"""Which provider a request goes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.client import ConfigurationError
from blindrelay.client.endpoint import Provider, read_providers
from blindrelay.client.endpoint.refusal import RefusedError
from blindrelay.client.endpoint.routes import Routes
from blindrelay.client.provider_apis import ErrorShape

OPENAI = "https://api.openai.com"
ANTHROPIC = "https://api.anthropic.com"
MODELS = "https://models.blindrelay.internal"
GEMINI = "https://generativelanguage.googleapis.com"


@pytest.fixture
def routes(tmp_path: Path) -> Routes:
    config = tmp_path / "config.toml"
    config.write_text(
        '[profiles.default]\nrelay = "x"\n[providers]\nmine = "https://own.example/openai/v1/"\n'
        'plain = "http://127.0.0.1:8080"\n'
    )
    return Routes(read_providers(config), "openai")


@pytest.mark.parametrize(
    ("method", "path", "headers", "url"),
    [
        ("POST", "/v1/chat/completions", "authorization", f"{OPENAI}/v1/chat/completions"),
        ("POST", "/chat/completions", "authorization", f"{OPENAI}/v1/chat/completions"),
        ("GET", "/v1/models/ft:gpt:org", "authorization", f"{OPENAI}/v1/models/ft:gpt:org"),
        ("GET", "/v1/threads/t/messages", "authorization", f"{OPENAI}/v1/threads/t/messages"),
        ("POST", "/v1/messages", "authorization", f"{ANTHROPIC}/v1/messages"),
        ("POST", "/messages/count_tokens", "x-api-key", f"{ANTHROPIC}/v1/messages/count_tokens"),
        ("GET", "/v1/models", "anthropic-version", f"{ANTHROPIC}/v1/models"),
        ("GET", "/v1/models", "x-goog-api-key", f"{GEMINI}/v1/models"),
        ("POST", "/v1/models/g:generateContent", "authorization", f"{GEMINI}/v1/models/g:generateContent"),
        ("GET", "/v1beta/models", "authorization", f"{GEMINI}/v1beta/models"),
        ("POST", "/upload/v1beta/files", "authorization", f"{GEMINI}/upload/v1beta/files"),
        ("GET", "/openai/v1/models", "anthropic-version", f"{OPENAI}/v1/models"),
        ("GET", "/gemini/models", "", f"{GEMINI}/v1beta/models"),
        ("GET", "/anthropic/models", "", f"{ANTHROPIC}/v1/models"),
        ("POST", "/cohere/chat", "", "https://api.cohere.com/v2/chat"),
        ("POST", "/cohere/v1/chat", "", "https://api.cohere.com/v1/chat"),
        ("POST", "/groq/chat/completions", "", "https://api.groq.com/openai/v1/chat/completions"),
        ("POST", "/groq/v1/chat/completions", "", "https://api.groq.com/openai/v1/chat/completions"),
        ("POST", "/groq/openai/v1/chat/completions", "", "https://api.groq.com/openai/v1/chat/completions"),
        ("POST", "/groq/openai/chat/completions", "", "https://api.groq.com/openai/v1/chat/completions"),
        ("POST", "/openai/openai/v1/chat/completions", "", f"{OPENAI}/v1/chat/completions"),
        ("GET", "/openai", "", f"{OPENAI}/v1/"),
        ("POST", "/v1beta/openai/chat/completions", "", f"{GEMINI}/v1beta/openai/chat/completions"),
        ("POST", "/models/v1/chat/completions", "", f"{MODELS}/v1/chat/completions"),
        ("GET", "/models/v1/models/org/m", "", f"{MODELS}/v1/models/org/m"),
        ("POST", "/models/anthropic/v1/messages", "x-api-key", f"{MODELS}/anthropic/v1/messages"),
        ("GET", "/models", "", f"{OPENAI}/v1/models"),
        ("GET", "/models/gpt", "", f"{OPENAI}/v1/models/gpt"),
        ("GET", "/models/anthropic/claude", "", f"{OPENAI}/v1/models/anthropic/claude"),
        ("POST", "/mine/chat/completions", "", "https://own.example/openai/v1/chat/completions"),
        ("POST", "/deepseek/chat/completions", "", "https://api.deepseek.com/chat/completions"),
        ("POST", "/openrouter/api/v1/responses", "", "https://openrouter.ai/api/v1/responses"),
        ("POST", "/plain/tokenize", "", "http://127.0.0.1:8080/tokenize"),
        ("POST", "/v1/fim/completions", "authorization", "https://api.mistral.ai/v1/fim/completions"),
        ("POST", "/v2/chat", "authorization", "https://api.cohere.com/v2/chat"),
        ("GET", "/v1/models", "x-api-key", f"{ANTHROPIC}/v1/models"),
        ("GET", "/v1/files/a%2Fb", "", f"{OPENAI}/v1/files/a%2Fb"),
    ],
)
def test_destination(routes: Routes, method: str, path: str, headers: str, url: str) -> None:
    assert routes.destination(method, path, "", {headers}).url == url
    assert routes.destination(method, path, "a=b", {headers}).url == f"{url}?a=b"


@pytest.mark.parametrize(
    ("default", "path", "url"),
    [
        ("mistral", "/v1/models", "https://api.mistral.ai/v1/models"),
        ("mistral", "/v1/messages", f"{ANTHROPIC}/v1/messages"),
        ("own", "/v4/chat/completions", "https://own.example/api/v4/chat/completions"),
        ("own", "/chat/completions", "https://own.example/api/v4/chat/completions"),
    ],
)
def test_default_provider_can_be_chosen(default: str, path: str, url: str) -> None:
    providers = read_providers(None) | {"own": Provider.at("own", "https://own.example/api/v4")}
    assert Routes(providers, default).destination("POST", path, "", set()).url == url


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/grok/chat/completions", "grok"),
        ("/api/v1/chat/completions", "api"),
        ("/v1/grok/chat/completions", "grok"),
        ("/v1/rerank", "rerank"),
        ("/v2/responses", "responses"),
        ("/v3/chat/completions", "v3"),
        ("/OpenAI/v1/models", "OpenAI"),
        ("/openai%2Fv1/models", "openai%2Fv1"),
        ("/%6fpenai/v1/models", "%6fpenai"),
        ("//v1/models", ""),
        ("/v1", "v1"),
        ("/../v1/models", ".."),
        ("/" + "x" * 1_000, "x" * 64),
    ],
)
def test_unknown_path_is_404_and_named(routes: Routes, path: str, named: str) -> None:
    with pytest.raises(RefusedError) as raised:
        routes.destination("POST", path, "", {"authorization"})
    assert raised.value.status == 404
    assert str(raised.value).startswith(f"{named!r} is neither a known provider nor")
    assert "/gemini, /groq, /mine, /mistral, /models, /openai, /openrouter, /plain" in str(raised.value)


@pytest.mark.parametrize(
    ("method", "path", "headers", "url"),
    [
        ("POST", "/v1/chat/completions", "authorization", f"{MODELS}/v1/chat/completions"),
        ("GET", "/models", "authorization", f"{MODELS}/v1/models"),
        ("POST", "/v1/messages", "authorization", f"{MODELS}/anthropic/v1/messages"),
        ("POST", "/messages/count_tokens", "x-api-key", f"{MODELS}/anthropic/v1/messages/count_tokens"),
        ("GET", "/v1/models", "anthropic-version", f"{MODELS}/anthropic/v1/models"),
        ("GET", "/v1/models", "x-goog-api-key", f"{GEMINI}/v1/models"),
        ("POST", "/openai/v1/responses", "authorization", f"{OPENAI}/v1/responses"),
    ],
)
def test_all_models_take_the_paths_of_two_apis(method: str, path: str, headers: str, url: str) -> None:
    routes = Routes(read_providers(None), "models")
    assert routes.destination(method, path, "", {headers}).url == url


def test_errors_at_the_address_of_all_models_have_the_form_of_the_api() -> None:
    routes = Routes(read_providers(None), "models")
    for path, shape in (
        ("/v1/models", ErrorShape.OPENAI),
        ("/models/anthropic/v1/models", ErrorShape.ANTHROPIC),
    ):
        assert routes.api("GET", path, set()).error_shape is shape


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://API.openai.com/v1/x", "/openai/v1/x"),
        ("https://api.groq.com/openai/v1/x?a=b", "/groq/v1/x?a=b"),
        ("https://api.groq.com/other/v1/x", None),
        ("https://api.openai.com:444/v1/x", None),
        (f"{MODELS}/anthropic/v1/x", "/models/anthropic/v1/x"),
        ("https://user@api.openai.com/v1/x", None),
    ],
)
def test_url_of_a_provider_has_a_local_path(routes: Routes, url: str, path: str | None) -> None:
    assert routes.local_path(url) == path


@pytest.mark.parametrize(
    "url", ["", "a", "ftp://a/", "https:///", "https://a:b@c/", "https://a/?b", "https://a:x/"]
)
def test_invalid_base_url_is_rejected(url: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a base URL"):
        Provider.at("mine", url)


@pytest.mark.parametrize("line", ["v1 = 'https://a'", "A = 'https://a'", "a=1", "["])
def test_invalid_table_is_rejected(tmp_path: Path, line: str) -> None:
    for text in (f"[providers]\n{line}", "providers = 1"):
        (tmp_path / "config.toml").write_text(text)
        with pytest.raises(ConfigurationError):
            read_providers(tmp_path / "config.toml")
