"""openai, unmodified."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from ..aimock.server import Aimock
from .conftest import CUT, PARIS, QUESTION, TOOLS, City, Way, ask
from .works import works

SDK: Final = "openai"
CUT_HERE: Final = (openai.APIConnectionError, *CUT)
WAV: Final = b"RIFF" + b"\0" * 300_000
MESSAGES: Final = ask()


def client_by(way: Way, **options: Any) -> OpenAI:
    return OpenAI(**way.options("/v1"), **options)


def async_client_by(way: Way) -> AsyncOpenAI:
    return AsyncOpenAI(**way.options("/v1", asynchronous=True))


@pytest.fixture
def client(way: Way) -> OpenAI:
    return client_by(way, max_retries=0)


def said(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@works(SDK, "chat", "chat, streamed")
def test_chat(client: OpenAI) -> None:
    assert client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content == PARIS
    chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert said(chunks) == PARIS
    assert len(chunks) > 2


@works(SDK, "chat", "chat, streamed", "a cut stream is an error")
async def test_chat_asynchronous(way: Way) -> None:
    async with async_client_by(way) as client:
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == PARIS
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert said([chunk async for chunk in stream]) == PARIS
        broken = await client.chat.completions.create(model="m", messages=ask("break off"), stream=True)
        with pytest.raises(CUT_HERE):
            [chunk async for chunk in broken]


@works(SDK, "tools", "tools, streamed")
def test_a_tool_is_called_and_its_result_understood(client: OpenAI) -> None:
    messages = ask("How is the weather in Paris?")
    first = client.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0].message
    assert first.tool_calls
    call: Any = first.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city":"Paris"}')
    messages += [first, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second = client.chat.completions.create(model="m", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "It rains in Paris."
    with client.chat.completions.stream(model="m", messages=ask("The weather?"), tools=TOOLS) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls
    assert message.tool_calls[0].function.arguments == '{"city":"Paris"}'


@works(SDK, "responses", "responses, streamed")
def test_responses(client: OpenAI) -> None:
    assert client.responses.create(model="m", input=QUESTION).output_text == PARIS
    with client.responses.stream(model="m", input=QUESTION) as stream:
        assert "".join(e.delta for e in stream if e.type == "response.output_text.delta") == PARIS
        assert stream.get_final_response().status == "completed"


@works(SDK, "responses", "responses, streamed")
async def test_responses_asynchronous(way: Way) -> None:
    async with async_client_by(way) as client:
        assert (await client.responses.create(model="m", input=QUESTION)).output_text == PARIS
        async with client.responses.stream(model="m", input=QUESTION) as stream:
            deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
    assert "".join(deltas) == PARIS


async def said_over(connection: Any) -> str:
    """The text of one response."""
    text = ""
    async for event in connection:
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type in ("response.completed", "response.done", "error"):
            break
    return text


@works(SDK, "responses, over WebSocket")
async def test_responses_over_websocket(endpoint_way: Way) -> None:
    async with async_client_by(endpoint_way) as client, client.responses.connect() as connection:
        await connection.response.create(model="m", input=QUESTION)
        assert await said_over(connection) == PARIS


@works(SDK, "Realtime, over WebSocket")
async def test_realtime(endpoint_way: Way) -> None:
    content: Any = [{"type": "input_text", "text": QUESTION}]
    item: Any = {"type": "message", "role": "user", "content": content}
    client = async_client_by(endpoint_way)
    async with client, client.realtime.connect(model="gpt-realtime") as connection:
        await connection.conversation.item.create(item=item)
        await connection.response.create(response={"output_modalities": ["text"]})
        assert await said_over(connection) == PARIS


@works(SDK, "embeddings", "audio, transcribed")
async def test_embeddings_and_audio_asynchronous(way: Way) -> None:
    async with async_client_by(way) as client:
        data = (await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])).data
        heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", WAV))
    assert (len(data), heard.text) == (2, PARIS)


@works(
    SDK,
    "embeddings",
    "models",
    "structured output",
    "images, made and edited",
    "images in a prompt",
    "audio, transcribed",
    "audio, generated",
)
def test_other_calls(client: OpenAI, aimock: Aimock) -> None:
    data = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"]).data
    assert len(data) == 2
    assert all(isinstance(number, float) for number in data[1].embedding)
    assert [model.id for model in client.models.list()]
    answer = client.chat.completions.parse(model="m", messages=ask("Paris as JSON"), response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", country="France")
    made = client.images.generate(model="gpt-image-1", prompt="Paris")
    assert base64.b64decode((made.data or [])[0].b64_json or "") == b"\x89PNG\r\n\x1a\n"
    edited = client.images.edit(model="gpt-image-1", image=("a.png", b"\x89PNG"), prompt="Paris at night")
    assert edited.data
    picture = "data:image/png;base64," + base64.b64encode(bytes(200_000)).decode()
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": picture}}]
    messages = ask(content)
    assert client.chat.completions.create(model="m", messages=messages).choices[0].message.content == PARIS
    assert int(aimock.requests("/v1/chat/completions")[-1]["headers"]["content-length"]) > len(picture)
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", WAV))
    assert heard.text == PARIS
    speech = client.audio.speech.with_streaming_response
    with speech.create(model="tts-1", voice="alloy", input="Hi") as spoken:
        assert b"".join(spoken.iter_bytes()) == b"sound of Paris"


@works(SDK, "files, with a key of your own")
def test_files(own_account: Way) -> None:
    client = client_by(own_account)
    stored = client.files.create(file=("a.jsonl", b'{"a": 1}\n'), purpose="batch")
    assert client.files.content(stored.id).content == b'{"a": 1}\n'
    assert stored.id in [file.id for file in client.files.list()]
    assert client.files.delete(stored.id).deleted


def test_files_need_a_key_of_your_own(way: Way) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="credentials=brought"):
        client_by(way).files.create(file=("a.jsonl", b"{}"), purpose="batch")


@works(SDK, "files, with a key of your own")
async def test_files_asynchronously(own_account: Way) -> None:
    async with async_client_by(own_account) as client:
        stored = await client.files.create(file=("b.jsonl", b"{}\n"), purpose="batch")
        assert (await client.files.retrieve(stored.id)).bytes == 3


@works(SDK, "the provider's errors", "a cut stream is an error")
def test_429_of_the_provider_arrives_whole(client: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="m", messages=ask("Please slow down"))
    headers = raised.value.response.headers
    assert headers["retry-after"] == "7"
    assert "x-ratelimit-remaining-requests" not in headers, "the account is everybody's"
    assert raised.value.code == "rate_limit_exceeded"
    assert "x-blindrelay-error" not in headers
    with pytest.raises(openai.APIError) as hung_up:
        client.chat.completions.create(model="m", messages=ask("Please hang up"))
    assert "provider closed the connection without a response" in f"{hung_up.value} {hung_up.value.__cause__}"
    with pytest.raises(json.JSONDecodeError):
        client.chat.completions.create(model="m", messages=ask("Please mumble"))
    """Not for the SDK by itself: a cut stream ends its loop as a whole one does."""
    stream = client.chat.completions.create(model="m", messages=ask("Please break off"), stream=True)
    seen = [next(stream)]
    with pytest.raises(CUT_HERE):
        seen.extend(stream)
    assert len(seen) > 1


def test_key_and_sdk_are_not_sent_to_the_provider(client: OpenAI, aimock: Aimock) -> None:
    client.chat.completions.create(model="m", messages=MESSAGES)
    seen = str(aimock.requests("/v1/chat/completions")[-1]["headers"]).lower()
    for trace in ("authorization", client.api_key.lower(), "stainless", "openai/python"):
        assert trace not in seen
