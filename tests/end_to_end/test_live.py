"""Pieces arrive as the provider sends them: the first is here while the last is still held back."""

from __future__ import annotations

import secrets
from typing import Any

import httpx2
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
ALL_BUT_THE_LAST = ["The", " capital", " of", " France", " is"]
KEY = "the-bridge-has-it"


def _gate() -> str:
    return secrets.token_hex(8)


def _release(bed: Testbed, gate: str) -> None:
    httpx2.post(f"{bed.provider}/scripted/release", json={"gate": gate}).raise_for_status()


def test_openai_synchronous(scripted: SealedTransport, scripted_bed: Testbed) -> None:
    gate = _gate()
    client = OpenAI(api_key=KEY, http_client=scripted.httpx2_client())
    stream = client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, extra_body={"scripted": {"hold": gate}}
    )
    pieces = (text for chunk in stream if (text := chunk.choices[0].delta.content))
    assert [next(pieces) for _ in ALL_BUT_THE_LAST] == ALL_BUT_THE_LAST
    _release(scripted_bed, gate)
    assert list(pieces) == [" Paris."]


async def test_openai_asynchronous(scripted: SealedTransport, scripted_bed: Testbed) -> None:
    gate = _gate()
    async with AsyncOpenAI(api_key=KEY, http_client=scripted.async_httpx2_client()) as client:
        stream = await client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, extra_body={"scripted": {"hold": gate}}
        )
        pieces = (text async for chunk in stream if (text := chunk.choices[0].delta.content))
        assert [await anext(pieces) for _ in ALL_BUT_THE_LAST] == ALL_BUT_THE_LAST
        _release(scripted_bed, gate)
        assert [text async for text in pieces] == [" Paris."]


def test_anthropic(scripted: SealedTransport, scripted_bed: Testbed) -> None:
    gate = _gate()
    client = Anthropic(api_key=KEY, http_client=scripted.httpx2_client())
    with client.messages.stream(
        model="m", max_tokens=9, messages=MESSAGES, extra_body={"scripted": {"hold": gate}}
    ) as stream:
        pieces = iter(stream.text_stream)
        assert [next(pieces) for _ in ALL_BUT_THE_LAST] == ALL_BUT_THE_LAST
        _release(scripted_bed, gate)
        assert list(pieces) == [" Paris."]


def test_a_stream_that_is_left_leaves_the_provider_too(
    scripted: SealedTransport, scripted_bed: Testbed
) -> None:
    gate = _gate()
    client = OpenAI(api_key=KEY, http_client=scripted.httpx2_client())
    with client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, extra_body={"scripted": {"hold": gate}}
    ) as stream:
        next(iter(stream))
        assert _outcomes(scripted_bed)[-1] == "open"
    for _ in range(500):
        if (outcome := _outcomes(scripted_bed)[-1]) != "open":
            break
    assert outcome == "abandoned"


def _outcomes(bed: Testbed) -> list[str]:
    return [entry["outcome"] for entry in httpx2.get(f"{bed.provider}/scripted/requests").json()]
