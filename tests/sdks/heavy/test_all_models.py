"""Frameworks, unmodified, at the one address with all models of a bridge, through the endpoint."""

from __future__ import annotations

import litellm
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from ..conftest import MODELS, PARIS, QUESTION, Way, ask
from ..works import works


@works("litellm", "all models of a bridge")
def test_litellm(endpoint_way: Way) -> None:
    for model, path in (("openai/m", "/v1"), ("anthropic/m", "")):
        base = endpoint_way.url(MODELS[path])
        answer = litellm.completion(model=model, api_base=base, api_key=endpoint_way.key, messages=ask())
        assert answer.choices[0].message.content == PARIS


@works("langchain-openai", "all models of a bridge")
def test_langchain_openai(endpoint_way: Way) -> None:
    chat = ChatOpenAI(model="m", api_key=endpoint_way.key, base_url=endpoint_way.url(MODELS["/v1"]))
    assert chat.invoke(QUESTION).content == PARIS


@works("langchain-anthropic", "all models of a bridge")
def test_langchain_anthropic(endpoint_way: Way) -> None:
    chat = ChatAnthropic(model="m", api_key=endpoint_way.key, base_url=endpoint_way.url(MODELS[""]))
    assert chat.invoke(QUESTION).content == PARIS


@works("pydantic-ai", "all models of a bridge")
async def test_pydantic_ai(endpoint_way: Way) -> None:
    provider = OpenAIProvider(api_key=endpoint_way.key, base_url=endpoint_way.url(MODELS["/v1"]))
    assert (await Agent(OpenAIChatModel("m", provider=provider)).run(QUESTION)).output == PARIS
