"""Streams at the address of all models: who is asked, how often, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testing import Gate, LocalBlindRelay
from tests.patience import wait_for

MODELS = {"two-targets": ["groq/gpt-oss", "openai/gpt-5.5"]}
MESSAGES: Any = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def local() -> Iterator[LocalBlindRelay]:
    with LocalBlindRelay(models=MODELS) as local:
        yield local


@pytest.fixture
def client(local: LocalBlindRelay) -> Iterator[openai.OpenAI]:
    with SealedTransport(f"{local.connection_string}&shape=off") as sealed:
        options: Any = {"base_url": sealed.base_url("models"), "http_client": sealed.httpx2_client()}
        yield openai.OpenAI(api_key="any", max_retries=0, **options)


def stream_of(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(model="two-targets", messages=MESSAGES, stream=True)


def asked(local: LocalBlindRelay) -> list[str]:
    """The models that providers were asked for, in order."""
    return [request.json["model"] for request in local.provider.requests]


def test_left_stream_ends_the_providers_work(local: LocalBlindRelay, client: openai.OpenAI) -> None:
    local.provider.reply("one two three", hold=Gate())
    with stream_of(client) as stream:
        assert next(iter(stream)).choices
    wait_for(lambda: local.provider.requests[0].outcome == "abandoned")
    assert asked(local) == ["gpt-oss"]


def test_cut_answer_is_an_error_and_nobody_else_is_asked(
    local: LocalBlindRelay, client: openai.OpenAI
) -> None:
    local.provider.reply("one two three", cut_after=2)
    with pytest.raises((openai.APIConnectionError, httpx2.TransportError)) as raised:
        list(stream_of(client))
    assert "provider" in f"{raised.value} {raised.value.__cause__}"
    assert asked(local) == ["gpt-oss"]


@pytest.mark.parametrize(("status", "then"), [(429, ["gpt-5.5"]), (503, ["gpt-5.5"]), (400, []), (500, [])])
def test_somebody_else_is_asked_only_if_nothing_ran(
    status: int, then: list[str], local: LocalBlindRelay, client: openai.OpenAI
) -> None:
    local.provider.reply("no", status=status)
    local.provider.reply("I am the second.")
    if then:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream_of(client))
        assert text == "I am the second."
    else:
        with pytest.raises(openai.APIStatusError) as raised:
            stream_of(client)
        assert raised.value.status_code == status
    assert asked(local) == ["gpt-oss", *then]
