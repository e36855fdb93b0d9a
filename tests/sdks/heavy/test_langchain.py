"""langchain-openai and langchain-anthropic, unmodified. The latter takes no transport."""

from __future__ import annotations

from typing import Any, Final

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from ..conftest import PARIS, QUESTION, City, Way
from ..works import works

OPENAI: Final = "langchain-openai"
ANTHROPIC: Final = "langchain-anthropic"


def options(way: Way) -> dict[str, Any]:
    both = {} if way.sealed is None else {"http_async_client": way.sealed.async_httpx2_client()}
    return way.options("/v1") | both


@pytest.fixture
def chat(way: Way) -> Any:
    return ChatOpenAI(model="m", **options(way))


@pytest.fixture
def claude(endpoint_way: Way) -> Any:
    return ChatAnthropic(model="m", api_key=endpoint_way.key, base_url=endpoint_way.url("/anthropic"))


@tool  # type: ignore[untyped-decorator]
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "rain"


@works(OPENAI, "chat", "chat, streamed")
def test_chat(chat: Any) -> None:
    assert chat.invoke(QUESTION).content == PARIS
    assert "".join(chunk.content for chunk in chat.stream(QUESTION)) == PARIS


@works(OPENAI, "chat", "chat, streamed")
async def test_chat_asynchronous(chat: Any) -> None:
    assert (await chat.ainvoke(QUESTION)).content == PARIS
    assert "".join([chunk.content async for chunk in chat.astream(QUESTION)]) == PARIS


@works(OPENAI, "responses", "embeddings")
def test_responses_and_embeddings(way: Way) -> None:
    chat = ChatOpenAI(model="m", use_responses_api=True, **options(way))
    assert chat.invoke(QUESTION).text == PARIS
    # Otherwise it fetches a tokenizer from elsewhere, in clear.
    embeddings = OpenAIEmbeddings(check_embedding_ctx_length=False, **options(way))
    assert len(embeddings.embed_documents(["one", "two"])) == 2


@works(OPENAI, "tools", "structured output")
def test_tools(chat: Any) -> None:
    (call,) = chat.bind_tools([get_weather]).invoke("How is the weather?").tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    answer = chat.with_structured_output(City, method="function_calling").invoke("Which city?")
    assert answer == City(name="Paris", country="France")


@works(ANTHROPIC, "messages", "messages, streamed", "tools")
def test_messages(claude: Any) -> None:
    assert claude.invoke(QUESTION).content == PARIS
    assert "".join(chunk.text for chunk in claude.stream(QUESTION)) == PARIS
    (call,) = claude.bind_tools([get_weather]).invoke("How is the weather?").tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})


@works(ANTHROPIC, "messages", "messages, streamed")
async def test_messages_asynchronous(claude: Any) -> None:
    assert (await claude.ainvoke(QUESTION)).content == PARIS
    assert "".join([chunk.text async for chunk in claude.astream(QUESTION)]) == PARIS
