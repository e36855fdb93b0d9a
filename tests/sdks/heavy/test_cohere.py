"""cohere, unmodified. It takes httpx, not httpx2."""

from __future__ import annotations

import json
from typing import Any, Final

import cohere
import httpx
import pytest
from cohere.core import ApiError

from ..conftest import PARIS, TOOLS, Way, ask
from ..works import works

SDK: Final = "cohere"
CUT: Final = (httpx.RemoteProtocolError, httpx.ReadError)
MODEL: Final = "command-a-03-2025"


def client_by(way: Way) -> Any:
    if way.sealed is not None:
        return cohere.ClientV2(api_key=way.key, httpx_client=way.sealed.httpx_client())
    return cohere.ClientV2(api_key=way.key, base_url=way.url("/cohere"))


def async_client_by(way: Way) -> Any:
    if way.sealed is not None:
        return cohere.AsyncClientV2(api_key=way.key, httpx_client=way.sealed.async_httpx_client())
    return cohere.AsyncClientV2(api_key=way.key, base_url=way.url("/cohere"))


@pytest.fixture
def client(way: Way) -> Any:
    return client_by(way)


def said(events: list[Any]) -> str:
    return "".join(e.delta.message.content.text for e in events if e.type == "content-delta")


@works(SDK, "chat", "chat, streamed")
def test_chat(client: Any) -> None:
    assert client.chat(model=MODEL, messages=ask()).message.content[0].text == PARIS
    events = list(client.chat_stream(model=MODEL, messages=ask()))
    assert said(events) == PARIS
    assert events[-1].type == "message-end"


@works(SDK, "chat", "chat, streamed")
async def test_chat_asynchronous(way: Way) -> None:
    client = async_client_by(way)
    answer = await client.chat(model=MODEL, messages=ask())
    assert answer.message.content[0].text == PARIS
    assert said([event async for event in client.chat_stream(model=MODEL, messages=ask())]) == PARIS


@works(SDK, "tools")
def test_a_tool_is_called_and_its_result_understood(client: Any) -> None:
    messages = ask("How is the weather in Paris?")
    first = client.chat(model=MODEL, messages=messages, tools=TOOLS).message
    call = first.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    messages += [
        {"role": "assistant", "tool_calls": first.tool_calls},
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    second = client.chat(model=MODEL, messages=messages, tools=TOOLS)
    assert second.message.content[0].text == "It rains in Paris."


@works(SDK, "structured output", "embeddings", "rerank")
def test_other_calls(client: Any) -> None:
    answer = client.chat(model=MODEL, messages=ask("Paris as JSON"), response_format={"type": "json_object"})
    assert json.loads(answer.message.content[0].text) == {"name": "Paris", "country": "France"}
    answer = client.embed(
        model="embed-v4.0", texts=["one", "two"], input_type="search_document", embedding_types=["float"]
    )
    assert len(answer.embeddings.float_) == 2
    ranked = client.rerank(model="rerank-v3.5", query="the capital", documents=["one", "two"])
    assert [each.index for each in ranked.results] == [1, 0]


@works(SDK, "the provider's errors", "a cut stream is an error")
def test_error_of_the_provider_arrives_whole_and_a_cut_is_one(client: Any) -> None:
    with pytest.raises(ApiError) as raised:
        client.chat(model=MODEL, messages=ask("slow down"), request_options={"max_retries": 0})
    assert raised.value.status_code == 429
    assert raised.value.headers["retry-after"] == "7"
    seen: list[Any] = []
    with pytest.raises(CUT):
        seen.extend(client.chat_stream(model=MODEL, messages=ask("break off")))
