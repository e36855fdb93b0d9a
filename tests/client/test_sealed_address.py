"""Base URLs under .invalid: requests through the transport arrive, others fail."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.client import ConfigurationError, SealedTransport
from blindrelay.client.sealed_address import with_real_address

from .conftest import LIBRARIES, client_of
from .scripted_bridge import Received, Responder, ScriptedBridge, responding


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("openai", "https://api.openai.com.blindrelay.invalid/v1"),
        ("anthropic", "https://api.anthropic.com.blindrelay.invalid"),
        ("gemini", "https://generativelanguage.googleapis.com.blindrelay.invalid"),
        ("groq", "https://api.groq.com.blindrelay.invalid/openai/v1"),
        ("https://Models.example:8443/v1/", "https://models.example.blindrelay.invalid:8443/v1/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1.blindrelay.invalid:8080"),
        ("wss://api.openai.com/v1", "wss://api.openai.com.blindrelay.invalid/v1"),
        ("https://api.openai.com.blindrelay.invalid/v1", "https://api.openai.com.blindrelay.invalid/v1"),
    ],
)
def test_base_url_of_a_provider(sealed: SealedTransport, provider: str, url: str) -> None:
    assert sealed.base_url(provider) == url


@pytest.mark.parametrize(
    "provider",
    ["", "grok", "OpenAI", "api.openai.com", "https://", "https://[::1]/v1", "https://a:x/", "https://u@a/"],
)
def test_unknown_provider_is_a_clear_error(sealed: SealedTransport, provider: str) -> None:
    with pytest.raises(ConfigurationError, match="neither one of openai, anthropic"):
        sealed.base_url(provider)


@LIBRARIES
def test_provider_gets_its_own_address(library: Any, sealed: SealedTransport, bridge: ScriptedBridge) -> None:
    with client_of(library, sealed, base_url=sealed.base_url("http://Models.example:8080")) as client:
        answer = client.post("/responses?a=b", json={"n": 1})
    assert answer.request.url.host == "models.example.blindrelay.invalid"
    (received,) = bridge.received
    assert received.head.url == "http://models.example:8080/responses?a=b"
    assert b"invalid" not in received.head.SerializeToString()
    timed = library.Request("GET", "https://a.blindrelay.invalid/", extensions={"timeout": {"read": 7}})
    assert with_real_address(timed).extensions == {"timeout": {"read": 7}}


@LIBRARIES
@pytest.mark.parametrize("suffix", [".blindrelay.invalid", ""])
def test_urls_in_a_response_stay_under_invalid(
    library: Any, suffix: str, sealed: SealedTransport, bridge: ScriptedBridge
) -> None:
    redirecting = responding(
        307,
        location="https://api.openai.com:8443/next",
        x_goog_upload_url="https://upload.example/x?y",
        content_location="/relative",
        x_text="see https://api.openai.com",
    )

    async def answer(received: Received, respond: Responder) -> None:
        answers = responding(200, b'"here"') if received.head.url.endswith("/next") else redirecting
        await answers(received, respond)

    bridge.answer = answer
    with client_of(library, sealed) as client:
        first = client.get(f"https://api.openai.com{suffix}/v1/first", follow_redirects=False)
        assert first.headers["location"] == f"https://api.openai.com{suffix}:8443/next"
        assert first.headers["x-goog-upload-url"] == f"https://upload.example{suffix}/x?y"
        assert first.headers["content-location"] == "/relative"
        assert first.headers["x-text"] == "see https://api.openai.com"
        assert client.get(first.request.url, follow_redirects=True).json() == "here"
    assert {each.head.url for each in bridge.received} == {
        "https://api.openai.com/v1/first",
        "https://api.openai.com:8443/next",
    }
