"""The official SDKs with only a base URL and a key."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from .conftest import Endpoint

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


@pytest.mark.parametrize("base", ["/v1", "", "/openai", "/openai/v1"])
def test_openai_with_or_without_a_version_or_provider(endpoint: Endpoint, base: str) -> None:
    client = OpenAI(base_url=endpoint.url + base, api_key=endpoint.token)
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == PARIS
    # The bridge takes only responses that are not stored.
    assert client.responses.create(model="m", input="The capital of France?").output_text == PARIS


def test_anthropic(endpoint: Endpoint) -> None:
    claude = Anthropic(base_url=endpoint.url, api_key=endpoint.token)
    with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == PARIS


def test_wrong_token_is_an_authentication_error(endpoint: Endpoint) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        OpenAI(base_url=f"{endpoint.url}/v1", api_key="sk-other").models.list()
    assert raised.value.code == "blindrelay_local_token"
    claude = Anthropic(base_url=endpoint.url, api_key="sk-other")
    with pytest.raises(anthropic.AuthenticationError, match="endpoint's token"):
        claude.messages.create(model="m", max_tokens=9, messages=MESSAGES)
