"""The official SDKs, unmodified, with a base URL and a key and nothing else."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from blindrelay.testbed import Testbed

from .conftest import Endpoint

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."
ERROR = "x-blindrelay-error"


@pytest.fixture
def client(endpoint: Endpoint) -> OpenAI:
    return OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.token)


@pytest.fixture
def claude(endpoint: Endpoint) -> Anthropic:
    return Anthropic(base_url=endpoint.url, api_key=endpoint.token)


def scripted(**script: Any) -> dict[str, Any]:
    return {"scripted": script}


def asked(bed: Testbed, mark: str) -> int:
    """How many requests with this path and query reached the provider."""
    requests = httpx.get(f"{bed.provider}/scripted/requests", trust_env=False).json()
    return sum(mark in request["path"] for request in requests)


@pytest.mark.parametrize("base", ["/v1", "", "/openai", "/openai/v1"])
def test_openai_chat_with_and_without_a_version(endpoint: Endpoint, base: str) -> None:
    client = OpenAI(base_url=endpoint.url + base, api_key=endpoint.token)
    answer = client.chat.completions.create(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == PARIS


def test_openai_from_its_environment_variables(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint.url}/{endpoint.token}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "the-bridge-has-it")
    assert OpenAI().chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content == PARIS


def test_openai_streamed(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == PARIS


def test_openai_responses_are_asked_for_without_storing(client: OpenAI) -> None:
    assert client.responses.create(model="m", input="The capital of France?").output_text == PARIS


def test_openai_models_and_embeddings(client: OpenAI) -> None:
    assert list(client.models.list())
    assert len(client.embeddings.create(model="m", input=["a", "b"], encoding_format="float").data) == 2


async def test_openai_asynchronous(endpoint: Endpoint) -> None:
    async with AsyncOpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.token) as client:
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == PARIS
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert len([chunk async for chunk in stream]) > 3


def test_an_audio_file_reaches_the_provider_whole(client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(model="m", file=("a.wav", b"x" * 400_000))
    assert json.loads(answer.content)["body_bytes"] > 400_000


def test_an_upload_to_store_is_refused_by_the_bridge_once(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as raised:
        client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert raised.value.response.headers[ERROR] == "bridge/not_allowed"
    assert raised.value.response.headers["x-should-retry"] == "false"


def test_anthropic(claude: Anthropic) -> None:
    answer: Any = claude.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    assert answer.content[0].text == PARIS
    assert claude.messages.count_tokens(model="m", messages=MESSAGES).input_tokens
    with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == PARIS


async def test_anthropic_asynchronous(endpoint: Endpoint) -> None:
    async with AsyncAnthropic(base_url=f"{endpoint.url}/anthropic", api_key=endpoint.token) as claude:
        answer: Any = await claude.messages.create(model="m", max_tokens=9, messages=MESSAGES)
        assert answer.content[0].text == PARIS
        async with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            assert "".join([text async for text in stream.text_stream]) == PARIS


@pytest.mark.parametrize(("status", "attempts", "after"), [(400, 1, None), (429, 3, "0.001"), (500, 3, None)])
def test_the_sdk_retries_as_often_as_it_means_to(
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


def test_a_wrong_token_is_the_sdks_authentication_error(endpoint: Endpoint) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        OpenAI(base_url=f"{endpoint.url}/v1", api_key="sk-other").models.list()
    assert raised.value.code == "blindrelay_local_token"
    with pytest.raises(anthropic.AuthenticationError, match="endpoint's token"):
        Anthropic(base_url=endpoint.url, api_key="sk-other").messages.create(
            model="m", max_tokens=9, messages=MESSAGES
        )
