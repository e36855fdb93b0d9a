"""mistralai, unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from mistralai.client import Mistral, errors

from tests.patience import PATIENCE

from .conftest import CUT, PARIS, TOOLS, City, Way, ask
from .works import works

SDK: Final = "mistralai"
MESSAGES: Final = ask()


def client_by(way: Way) -> Mistral:
    if way.sealed is not None:
        sealed = way.sealed
        return Mistral(
            api_key=way.key,
            client=sealed.httpx2_client(timeout=PATIENCE),
            async_client=sealed.async_httpx2_client(timeout=PATIENCE),
        )
    return Mistral(api_key=way.key, server_url=way.url("/mistral"))


@pytest.fixture
def client(way: Way) -> Iterator[Mistral]:
    with client_by(way) as client:
        yield client


def said(events: list[Any]) -> str:
    return "".join(event.data.choices[0].delta.content or "" for event in events if event.data.choices)


@works(SDK, "chat", "chat, streamed")
def test_chat(client: Mistral) -> None:
    answer: Any = client.chat.complete(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == PARIS
    with client.chat.stream(model="m", messages=MESSAGES) as stream:
        events = list(stream)
    assert said(events) == PARIS
    assert len(events) > 2


@works(SDK, "chat", "chat, streamed")
async def test_chat_asynchronous(way: Way) -> None:
    async with client_by(way) as client:
        answer: Any = await client.chat.complete_async(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == PARIS
        stream = await client.chat.stream_async(model="m", messages=MESSAGES)
        assert said([event async for event in stream]) == PARIS


@works(SDK, "tools")
def test_a_tool_is_called_and_its_result_understood(client: Mistral) -> None:
    messages = ask("How is the weather in Paris?")
    first: Any = client.chat.complete(model="m", messages=messages, tools=TOOLS)
    call = first.choices[0].message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second: Any = client.chat.complete(model="m", messages=messages, tools=TOOLS)
    assert second.choices[0].message.content == "It rains in Paris."


@works(SDK, "structured output", "embeddings", "models", "OCR", "audio, transcribed")
def test_other_calls(client: Mistral) -> None:
    answer: Any = client.chat.parse(City, model="m", messages=ask("Paris as JSON"))
    assert answer.choices[0].message.parsed == City(name="Paris", country="France")
    answer = client.embeddings.create(model="mistral-embed", inputs=["one", "two"])
    assert [each.embedding for each in answer.data] == [[3, 0.5], [3, 0.5]]
    assert client.models.list().data
    document: Any = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    answer = client.ocr.process(model="mistral-ocr-latest", document=document)
    assert answer.pages[0].markdown == "Read: https://example.com/a.pdf"
    file: Any = {"file_name": "a.wav", "content": b"RIFF" + bytes(300_000)}
    heard = client.audio.transcriptions.complete(model="voxtral-mini-latest", file=file)
    assert heard.text == "300004 bytes of sound"


@works(SDK, "files, with a key of your own")
def test_files(own_account: Way) -> None:
    with client_by(own_account) as client:
        file: Any = {"file_name": "a.jsonl", "content": b'{"a": 1}\n'}
        stored = client.files.upload(file=file, purpose="batch")
        assert client.files.download(file_id=stored.id).read() == b'{"a": 1}\n'


@works(SDK, "the provider's errors", "a cut stream is an error")
def test_error_of_the_provider_arrives_whole_and_a_cut_is_one(client: Mistral) -> None:
    with pytest.raises(errors.SDKError, match="asks too much") as raised:
        client.chat.complete(model="m", messages=ask("Please slow down"))
    assert raised.value.status_code == 429
    assert raised.value.headers["retry-after"] == "7"
    seen: list[Any] = []
    with client.chat.stream(model="m", messages=ask("break off")) as stream, pytest.raises(CUT):
        seen.extend(stream)
    assert seen
