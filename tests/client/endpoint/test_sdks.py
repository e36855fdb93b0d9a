"""The official SDKs with only a base URL and a key."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from blindrelay.testbed import Testbed

from .conftest import Endpoint

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."
ERROR = "x-blindrelay-error"


def scripted(**script: Any) -> dict[str, Any]:
    return {"scripted": script}


def asked(bed: Testbed, mark: str) -> int:
    """How many requests with this path and query reached the provider."""
    requests = httpx.get(f"{bed.provider}/scripted/requests", trust_env=False).json()
    return sum(mark in request["path"] for request in requests)


@pytest.mark.parametrize("base", ["/v1", "", "/openai", "/openai/v1"])
def test_base_url_may_name_a_version_or_provider(endpoint: Endpoint, base: str) -> None:
    client = OpenAI(base_url=endpoint.url + base, api_key=endpoint.token)
    answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == PARIS


def test_openai(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == PARIS
    # The bridge takes only responses that are not stored.
    assert client.responses.create(model="m", input="The capital of France?").output_text == PARIS
    assert list(client.models.list())


def test_token_in_the_path_of_the_base_url(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint.url}/{endpoint.token}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "the-bridge-has-it")
    assert list(OpenAI().models.list())


@pytest.fixture
def client(endpoint: Endpoint) -> OpenAI:
    return OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.token)


def test_audio_file_reaches_the_provider(client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(model="m", file=("a.wav", b"x" * 400_000))
    assert json.loads(answer.content)["body_bytes"] > 400_000


def test_upload_to_store_is_refused_without_retry(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as raised:
        client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert raised.value.response.headers[ERROR] == "bridge/not_allowed"
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_anthropic(endpoint: Endpoint) -> None:
    claude = Anthropic(base_url=endpoint.url, api_key=endpoint.token)
    with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == PARIS
    assert claude.messages.count_tokens(model="m", messages=MESSAGES).input_tokens


@pytest.mark.parametrize(("status", "attempts", "after"), [(400, 1, None), (429, 3, "0.001"), (500, 3, None)])
def test_sdk_retries_as_configured(
    bed: Testbed, endpoint: Endpoint, status: int, attempts: int, after: str | None
) -> None:
    client = OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.token, max_retries=2)
    before = asked(bed, "/v1/chat/completions")
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(
            model="m", messages=MESSAGES, extra_body=scripted(status=status, headers={"retry-after": "0.001"})
        )
    assert raised.value.status_code == status
    assert raised.value.response.headers.get("retry-after") == after
    assert ERROR not in raised.value.response.headers
    assert asked(bed, "/v1/chat/completions") - before == attempts


def test_wrong_token_is_an_authentication_error(endpoint: Endpoint) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        OpenAI(base_url=f"{endpoint.url}/v1", api_key="sk-other").models.list()
    assert raised.value.code == "blindrelay_local_token"
    with pytest.raises(anthropic.AuthenticationError, match="endpoint's token"):
        Anthropic(base_url=endpoint.url, api_key="sk-other").messages.create(
            model="m", max_tokens=9, messages=MESSAGES
        )
