"""The official SDKs, unmodified and with their usual base URLs, through relay and bridge to a model."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from blindrelay.client import SealedTransport

MESSAGES: Any = [{"role": "user", "content": "Say something."}]
KEY = "the-bridge-has-it"


@pytest.fixture(params=["httpx2", "httpx"])
def client(request: pytest.FixtureRequest, model: SealedTransport) -> OpenAI:
    """openai with httpx2 and with httpx, which it still accepts."""
    http: Any = model.httpx2_client() if request.param == "httpx2" else model.httpx_client()
    return OpenAI(api_key=KEY, http_client=http)


def test_openai_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    stream = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8, stream=True)
    choices = [chunk.choices[0] for chunk in stream if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices)
    assert choices[-1].finish_reason


def test_openai_responses(client: OpenAI) -> None:
    """The Responses API stores answers by default, and the client library tells it not to."""
    assert client.responses.create(model="m", input="Say something.", max_output_tokens=8).output_text
    events = list(client.responses.create(model="m", input="Hi", max_output_tokens=8, stream=True))
    assert events[-1].type in ("response.completed", "response.incomplete")


def test_model_server_error_is_an_sdk_error(client: OpenAI) -> None:
    no_format: Any = {"type": "none that there is"}
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model="m", messages=MESSAGES, response_format=no_format)
    assert "x-blindrelay-error" not in raised.value.response.headers


async def test_openai_asynchronous(model: SealedTransport) -> None:
    async with AsyncOpenAI(api_key=KEY, http_client=model.async_httpx2_client()) as client:
        answer = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8)
        assert answer.choices[0].message.content
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8, stream=True)
        assert [chunk async for chunk in stream]


def test_anthropic_messages(model: SealedTransport) -> None:
    client = Anthropic(api_key=KEY, http_client=model.httpx2_client())
    answer = client.messages.create(model="m", max_tokens=8, messages=MESSAGES)
    assert answer.content
    assert client.messages.count_tokens(model="m", messages=MESSAGES).input_tokens
    with client.messages.stream(model="m", max_tokens=8, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream)


async def test_anthropic_asynchronous(model: SealedTransport) -> None:
    async with AsyncAnthropic(api_key=KEY, http_client=model.async_httpx2_client()) as client:
        assert (await client.messages.create(model="m", max_tokens=8, messages=MESSAGES)).content
        async with client.messages.stream(model="m", max_tokens=8, messages=MESSAGES) as stream:
            assert [text async for text in stream.text_stream]


def test_provider_error_arrives_unchanged(scripted: SealedTransport) -> None:
    client = OpenAI(api_key=KEY, http_client=scripted.httpx2_client(), max_retries=0)
    script = {"status": 429, "headers": {"retry-after": "7", "x-request-id": "req-1"}}
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="m", messages=MESSAGES, extra_body={"scripted": script})
    assert raised.value.response.headers["retry-after"] == "7"
    assert raised.value.request_id == "req-1"
    assert "x-blindrelay-error" not in raised.value.response.headers


def test_nothing_of_the_sdk_reaches_the_provider(scripted: SealedTransport) -> None:
    client = OpenAI(api_key="sk-users-own", organization="org-users", http_client=scripted.httpx2_client())
    answer = client.chat.completions.create(
        model="m", messages=MESSAGES, extra_body={"scripted": {"echo": True}}
    )
    seen = (answer.choices[0].message.content or "").lower()
    assert "content-type" in seen
    for trace in ("stainless", "openai/python", "sk-users-own", "org-users", "httpx", "gzip"):
        assert trace not in seen
