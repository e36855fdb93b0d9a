"""google-genai, unmodified."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import pytest
from google import genai
from google.genai import errors, types

from ..aimock.server import Aimock
from .conftest import CUT, PARIS, QUESTION, City, Way
from .works import works

SDK: Final = "google-genai"
MODEL: Final = "gemini-3"
GENERATE: Final = f"/v1beta/models/{MODEL}:generateContent"


def client_by(way: Way, version: str | None = "v1beta") -> genai.Client:
    if way.sealed is not None:
        options = types.HttpOptions(
            api_version=version,
            client_args={"transport": way.sealed},
            async_client_args={"transport": way.sealed},
        )
    else:
        options = types.HttpOptions(api_version=version, base_url=way.url("/gemini"))
    return genai.Client(api_key=way.key, http_options=options)


@pytest.fixture
def client(way: Way) -> Iterator[genai.Client]:
    with client_by(way) as client:
        yield client


@works(SDK, "content", "content, streamed")
def test_content(client: genai.Client) -> None:
    assert client.models.generate_content(model=MODEL, contents=QUESTION).text == PARIS
    chunks = list(client.models.generate_content_stream(model=MODEL, contents=QUESTION))
    assert "".join(chunk.text or "" for chunk in chunks) == PARIS
    assert len(chunks) > 1


@works(SDK, "content", "content, streamed")
async def test_content_asynchronous(client: genai.Client) -> None:
    answer = await client.aio.models.generate_content(model=MODEL, contents=QUESTION)
    assert answer.text == PARIS
    stream = await client.aio.models.generate_content_stream(model=MODEL, contents=QUESTION)
    assert "".join([chunk.text or "" async for chunk in stream]) == PARIS
    await client.aio.aclose()


@pytest.mark.parametrize("version", [None, "v1", "v1alpha"])
def test_content_by_every_version(way: Way, version: str | None) -> None:
    """None is what the SDK has when nothing is said."""
    with client_by(way, version) as client:
        assert client.models.generate_content(model=MODEL, contents=QUESTION).text == PARIS


@works(SDK, "tools")
@pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason")  # aimock's own word
def test_a_function_is_called_by_itself(client: genai.Client) -> None:
    asked = []

    def get_weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "rain"

    config = types.GenerateContentConfig(tools=[get_weather])
    answer = client.models.generate_content(model=MODEL, contents="How is the weather?", config=config)
    assert (answer.text, asked) == ("It rains in Paris.", ["Paris"])


@works(SDK, "structured output", "images in a prompt", "embeddings", "count_tokens", "models", "chats")
def test_other_calls(client: genai.Client, aimock: Aimock) -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    answer = client.models.generate_content(model=MODEL, contents="Paris as JSON", config=config)
    assert answer.parsed == City(name="Paris", country="France")
    contents: Any = ["What is this?", types.Part.from_bytes(data=bytes(200_000), mime_type="image/png")]
    assert client.models.generate_content(model=MODEL, contents=contents).text == PARIS
    assert int(aimock.requests(GENERATE)[-1]["headers"]["content-length"]) > 200_000
    words: Any = ["one", "three"]
    found = client.models.embed_content(model="gemini-embedding-001", contents=words).embeddings or []
    assert [each.values for each in found] == [[3, 0.5], [5, 0.5]]
    assert client.models.count_tokens(model=MODEL, contents=QUESTION).total_tokens
    assert [model.name for model in client.models.list()] == ["models/gemini-3"]
    assert client.models.get(model=MODEL).display_name == "Gemini"
    chat = client.chats.create(model=MODEL)
    assert chat.send_message(QUESTION).text == PARIS
    assert chat.send_message("And again?").text == PARIS
    assert len(chat.get_history()) == 4


@works(SDK, "the provider's errors", "a cut stream is an error")
def test_error_of_the_provider_arrives_whole_and_a_cut_is_one(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match="asks too much") as raised:
        client.models.generate_content(model=MODEL, contents="Please slow down")
    assert raised.value.code == 429
    seen: list[Any] = []
    with pytest.raises(CUT):
        seen.extend(client.models.generate_content_stream(model=MODEL, contents="Please break off"))
    assert seen


def test_files_and_stored_content_are_refused_in_the_sdks_shape(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match=r"x-goog-upload-.*credentials=brought") as raised:
        client.files.upload(file=io.BytesIO(b"hello"), config={"mime_type": "text/plain"})
    assert raised.value.code == 400
    config = types.GenerateContentConfig(cached_content="cachedContents/1")
    with pytest.raises(errors.ClientError, match="cachedContent refers to stored content") as raised:
        client.models.generate_content(model=MODEL, contents=QUESTION, config=config)
    assert raised.value.code == 400


def test_key_and_sdk_are_not_sent_to_the_provider(way: Way, aimock: Aimock) -> None:
    with client_by(way) as client:
        client.models.generate_content(model=MODEL, contents=QUESTION)
    seen = str(aimock.requests(GENERATE)[-1]).lower()
    for trace in ("x-goog-api-key", way.key.lower(), "genai-sdk", "gl-python"):
        assert trace not in seen
