"""anthropic, unmodified."""

from __future__ import annotations

from typing import Any, Final

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_async_tool, beta_tool

from .conftest import CUT, PARAMETERS, PARIS, QUESTION, City, Way, ask
from .works import works

SDK: Final = "anthropic"
CUT_HERE: Final = (anthropic.APIConnectionError, *CUT)
TOOLS: Final[Any] = [{"name": "get_weather", "input_schema": PARAMETERS}]


def client_by(way: Way, **options: Any) -> Anthropic:
    return Anthropic(**way.options(""), **options)


def async_client_by(way: Way) -> AsyncAnthropic:
    return AsyncAnthropic(**way.options("", asynchronous=True))


@pytest.fixture
def client(way: Way) -> Anthropic:
    return client_by(way, max_retries=0)


def asking(text: str, **options: Any) -> Any:
    return {"model": "m", "max_tokens": 99, "messages": ask(text), **options}


def said(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def streamed(events: list[Any]) -> str:
    return "".join(event.delta.text for event in events if event.type == "content_block_delta")


@works(SDK, "messages", "messages, streamed", "the streaming helper")
def test_messages(client: Anthropic) -> None:
    assert said(client.messages.create(**asking(QUESTION))) == PARIS
    events = list(client.messages.create(**asking(QUESTION), stream=True))
    assert streamed(events) == PARIS
    assert events[-1].type == "message_stop"
    with client.messages.stream(**asking(QUESTION)) as stream:
        assert "".join(stream.text_stream) == PARIS
        assert said(stream.get_final_message()) == PARIS


@works(SDK, "messages", "messages, streamed", "the streaming helper")
@works(SDK, "the tool runner", "a cut stream is an error")
async def test_messages_asynchronous(way: Way) -> None:
    @beta_async_tool
    async def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    async with async_client_by(way) as client:
        assert said(await client.messages.create(**asking(QUESTION))) == PARIS
        stream = await client.messages.create(**asking(QUESTION), stream=True)
        assert streamed([event async for event in stream]) == PARIS
        async with client.messages.stream(**asking(QUESTION)) as helper:
            assert "".join([text async for text in helper.text_stream]) == PARIS
            assert said(await helper.get_final_message()) == PARIS
        question = asking("How is the weather?", tools=[get_weather])
        assert said(await client.beta.messages.tool_runner(**question).until_done()) == "It rains in Paris."
        async with client.messages.stream(**asking("Please break off")) as broken:
            with pytest.raises(CUT_HERE):
                [event async for event in broken]


@works(SDK, "tools", "structured output", "models")
def test_tools_structured_output_and_models(client: Anthropic) -> None:
    question = asking("How is the weather in Paris?", tools=TOOLS)
    first = client.messages.create(**question)
    call: Any = next(block for block in first.content if block.type == "tool_use")
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    question["messages"] += [{"role": "assistant", "content": first.content}, *ask([result])]
    assert said(client.messages.create(**question)) == "It rains in Paris."
    answer = client.messages.parse(**asking("Paris as JSON"), output_format=City)
    assert answer.parsed_output == City(name="Paris", country="France")
    assert [model.id for model in client.models.list()]


@works(SDK, "the tool runner")
def test_the_tool_runner(client: Anthropic) -> None:
    asked = []

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: its name.
        """
        asked.append(city)
        return "rain"

    runner = client.beta.messages.tool_runner(**asking("How is the weather?", tools=[get_weather]))
    assert said(runner.until_done()) == "It rains in Paris."
    assert asked == ["Paris"]


@works(SDK, "the provider's errors", "a cut stream is an error")
def test_error_of_the_provider_arrives_whole_and_a_cut_is_one(client: Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as raised:
        client.messages.create(**asking("Please slow down"))
    assert raised.value.response.headers["retry-after"] == "7"
    assert "asks too much" in str(raised.value)
    assert "x-blindrelay-error" not in raised.value.response.headers
    seen: list[Any] = []
    with client.messages.stream(**asking("Please break off")) as stream, pytest.raises(CUT_HERE):
        seen.extend(stream)
    assert seen


@works(SDK, "files, with a key of your own")
def test_files(own_account: Way) -> None:
    client = client_by(own_account)
    stored = client.beta.files.upload(file=("a.txt", b"hello", "text/plain"))
    assert stored.id in [file.id for file in client.beta.files.list()]
    assert client.beta.files.delete(stored.id).id == stored.id
