"""openai and anthropic before llama.cpp: no mock, but a server with a model, if one of random weights."""

from __future__ import annotations

from typing import Any, Final

from openai import OpenAI

from blindrelay.testbed import Testbed

from .conftest import QUESTION, Way, ask
from .test_anthropic import asking, said
from .test_anthropic import async_client_by as async_anthropic_by
from .test_anthropic import client_by as anthropic_by
from .test_openai import client_by as openai_by
from .test_openai import said as streamed
from .works import works

ANTHROPIC: Final = "anthropic"
MESSAGES: Final = ask()


@works("openai", "chat, by llama.cpp", "responses, by llama.cpp")
def test_chat(model_way: Way) -> None:
    client = openai_by(model_way)
    answer = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    stream = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=8, stream=True)
    assert streamed(list(stream))
    assert client.responses.create(model="m", input="Say something.", max_output_tokens=8).output_text


@works(ANTHROPIC, "messages, by llama.cpp", "count_tokens")
def test_a_model_answers_and_counts(model_way: Way) -> None:
    """aimock counts no tokens; llama.cpp does."""
    client = anthropic_by(model_way)
    assert said(client.messages.create(**asking(QUESTION, max_tokens=8)))
    with client.messages.stream(**asking(QUESTION, max_tokens=8)) as stream:
        assert "".join(stream.text_stream)
    assert client.messages.count_tokens(model="m", messages=MESSAGES).input_tokens > 5


@works(ANTHROPIC, "count_tokens")
async def test_a_model_counts_asynchronously(model_way: Way) -> None:
    async with async_anthropic_by(model_way) as client:
        assert (await client.messages.count_tokens(model="m", messages=MESSAGES)).input_tokens > 5


def test_providers_token_counts_arrive(model_way: Way, model_bed: Testbed) -> None:
    """Bills are made from them."""
    straight = OpenAI(base_url=f"{model_bed.provider}/v1", api_key="none")
    counted = []
    for client in (straight, openai_by(model_way)):
        asked: Any = {"model": "m", "messages": MESSAGES, "max_tokens": 8, "seed": 1, "temperature": 0}
        stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        (usage,) = [chunk.usage for chunk in stream if chunk.usage]
        counted.append(usage.model_dump(exclude={"prompt_tokens_details"}))
    assert counted[0] == counted[1]
    assert counted[0]["completion_tokens"] > 0
