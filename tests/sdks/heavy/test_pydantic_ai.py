"""pydantic-ai, unmodified, with three providers. It is asynchronous throughout."""

from __future__ import annotations

from typing import Any, Final

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from ..conftest import PARIS, QUESTION, City, Way
from ..test_google_genai import client_by
from ..works import works

SDK: Final = "pydantic-ai"


def openai_by(way: Way) -> Any:
    return OpenAIProvider(**way.options("/v1", asynchronous=True))


@pytest.fixture
def chat(way: Way) -> Any:
    return OpenAIChatModel("m", provider=openai_by(way))


@works(SDK, "OpenAI's chat", "OpenAI's chat, streamed", "structured output")
async def test_chat(chat: Any) -> None:
    assert (await Agent(chat).run(QUESTION)).output == PARIS
    async with Agent(chat).run_stream(QUESTION) as result:
        assert "".join([piece async for piece in result.stream_text(delta=True)]) == PARIS
    answer = await Agent(chat, output_type=City).run("Which city?")
    assert answer.output == City(name="Paris", country="France")


@works(SDK, "OpenAI's responses")
async def test_responses(way: Way) -> None:
    model = OpenAIResponsesModel("m", provider=openai_by(way))
    assert (await Agent(model).run(QUESTION)).output == PARIS


@works(SDK, "tools")
async def test_tools(chat: Any) -> None:
    asked = []

    async def get_weather(city: str) -> str:
        asked.append(city)
        return "rain"

    answer = await Agent(chat, tools=[get_weather]).run("How is the weather?")
    assert (answer.output, asked) == ("It rains in Paris.", ["Paris"])


@works(SDK, "Anthropic's messages")
async def test_anthropic(way: Way) -> None:
    provider = AnthropicProvider(**way.options("/anthropic", asynchronous=True))
    agent = Agent(AnthropicModel("m", provider=provider))
    assert (await agent.run(QUESTION)).output == PARIS
    async with agent.run_stream(QUESTION) as result:
        assert await result.get_output() == PARIS


@works(SDK, "Gemini's content")
async def test_gemini(way: Way) -> None:
    provider = GoogleProvider(client=client_by(way))
    assert (await Agent(GoogleModel("gemini-3", provider=provider)).run(QUESTION)).output == PARIS


@works(SDK, "the provider's errors")
async def test_429_of_the_provider_arrives_whole(chat: Any) -> None:
    with pytest.raises(ModelHTTPError) as raised:
        await Agent(chat).run("Please slow down")
    assert raised.value.status_code == 429
