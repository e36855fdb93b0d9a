"""litellm, unmodified: five providers through the endpoint, three by the transport that a call is given."""

from __future__ import annotations

from typing import Any, Final

import litellm
import pytest
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler

from ..conftest import PARIS, TOOLS, Way, ask
from ..works import case, works

SDK: Final = "litellm"

BASES: Final = {
    "openai/m": "/v1",
    "anthropic/claude-x": "/anthropic",
    "gemini/gemini-3": "/gemini",
    "mistral/mistral-large": "/mistral/v1",
    "cohere_chat/command-a": "/cohere/v2/chat",
}
# Cohere's streams are more than litellm itself can read.
each_model = pytest.mark.parametrize(
    "model",
    [
        case(SDK, "openai/m", "OpenAI's chat", "OpenAI's chat, streamed"),
        case(SDK, "anthropic/claude-x", "Anthropic's messages", "Anthropic's messages, streamed"),
        case(SDK, "gemini/gemini-3", "Gemini's content", "Gemini's content, streamed"),
        case(SDK, "mistral/mistral-large", "Mistral's chat", "Mistral's chat, streamed"),
        case(SDK, "cohere_chat/command-a", "Cohere's chat"),
    ],
)


def options(way: Way, model: str, *question: str) -> Any:
    return {"model": model, "api_base": way.url(BASES[model]), "api_key": way.key, "messages": ask(*question)}


def said(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@each_model
def test_chat(endpoint_way: Way, model: str) -> None:
    question = options(endpoint_way, model)
    assert litellm.completion(**question).choices[0].message.content == PARIS
    if not model.startswith("cohere"):
        assert said(list(litellm.completion(**question, stream=True))) == PARIS


@each_model
async def test_chat_asynchronous(endpoint_way: Way, model: str) -> None:
    question = options(endpoint_way, model)
    assert (await litellm.acompletion(**question)).choices[0].message.content == PARIS
    if not model.startswith("cohere"):
        stream = await litellm.acompletion(**question, stream=True)
        assert said([chunk async for chunk in stream]) == PARIS


@works(SDK, "OpenAI's embeddings")
def test_embeddings(endpoint_way: Way) -> None:
    answer = litellm.embedding(
        model="openai/e", input=["one"], api_base=endpoint_way.url("/v1"), api_key=endpoint_way.key
    )
    assert answer.data[0]["embedding"]


@works(SDK, "OpenAI's chat")
def test_openai_by_the_transport(transport_way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    assert transport_way.sealed is not None
    monkeypatch.setattr(litellm, "client_session", transport_way.sealed.httpx_client())
    answer = litellm.completion(model="openai/m", api_key="k", messages=ask())
    assert answer.choices[0].message.content == PARIS


@works(SDK, "Anthropic's messages", "Anthropic's messages, streamed", "Gemini's content", "Mistral's chat")
def test_by_the_transport(transport_way: Way) -> None:
    """client_session is OpenAI's alone; for the others each call is given a client, or goes out in clear."""
    assert transport_way.sealed is not None
    client = HTTPHandler(client=transport_way.sealed.httpx_client())
    given: Any = {"api_key": "k", "messages": ask(), "client": client}
    for model in ("anthropic/claude-x", "gemini/gemini-3", "mistral/mistral-large"):
        assert litellm.completion(model=model, **given).choices[0].message.content == PARIS
    assert said(list(litellm.completion(model="anthropic/claude-x", stream=True, **given))) == PARIS


@works(SDK, "Anthropic's messages")
async def test_by_the_transport_asynchronous(transport_way: Way) -> None:
    client = AsyncHTTPHandler(transport=transport_way.sealed)
    answer = await litellm.acompletion(model="anthropic/claude-x", api_key="k", messages=ask(), client=client)
    assert answer.choices[0].message.content == PARIS


@works(SDK, "tools")
def test_tools(endpoint_way: Way) -> None:
    question = options(endpoint_way, "anthropic/claude-x", "How is the weather?")
    answer = litellm.completion(**question, tools=TOOLS)
    assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"


@works(SDK, "the provider's errors")
def test_the_providers_429_arrives(endpoint_way: Way) -> None:
    question = options(endpoint_way, "openai/m", "slow down")
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(**question, num_retries=0, max_retries=0)
