"""openai and anthropic, unmodified: six providers through one base URL, by the model's name alone.

Each provider is a scripted one on a port of its own, and expects its own credential and its own paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import anthropic
import openai
import pytest
from anyio.from_thread import start_blocking_portal

from blindrelay.testbed import MappedProvider, Testbed
from blindrelay.testing import ReceivedRequest, Reply, ScriptedProvider

from .conftest import BROUGHT, PARAMETERS, TOOLS, WAYS, City, Endpoints, Way, ask, way_of
from .test_anthropic import asking
from .test_anthropic import async_client_by as async_anthropic_by
from .test_anthropic import client_by as anthropic_by
from .test_anthropic import said as anthropic_said
from .test_openai import async_client_by, client_by, said
from .works import works


@dataclass(frozen=True)
class Served:
    """A provider, and what it has to receive for a chat: path, credential, model."""

    preset: str
    origin: str
    path: str
    model: str

    @property
    def key(self) -> str:
        return f"key-of-{self.preset}"


SERVED: Final = {
    each.preset: each
    for each in (
        Served("openai", "https://api.openai.com", "/v1/chat/completions", "gpt-5.5-2026-10-01"),
        Served("anthropic", "https://api.anthropic.com", "/v1/chat/completions", "claude-opus-5"),
        Served(
            "gemini",
            "https://generativelanguage.googleapis.com",
            "/v1beta/openai/chat/completions",
            "gemini-3-pro",
        ),
        Served("mistral", "https://api.mistral.ai", "/v1/chat/completions", "mistral-large-latest"),
        Served("cohere", "https://api.cohere.com", "/compatibility/v1/chat/completions", "command-a"),
        Served("azure", "https://eu.openai.azure.com", "/openai/v1/chat/completions", "gpt5-eu"),
        Served("deepseek", "https://api.deepseek.com", "/v1/chat/completions", "deepseek-chat"),
        Served("groq", "https://api.groq.com", "/openai/v1/chat/completions", "openai/gpt-oss-120b"),
    )
}
NAMES: Final = pytest.mark.parametrize("name", SERVED)


@dataclass
class Providers:
    """The scripted providers, and a testbed in front of them."""

    scripted: dict[str, ScriptedProvider]
    bed: Testbed

    def received(self) -> tuple[str, ReceivedRequest]:
        """The one request since the last call, and which provider it reached."""
        ((name, request),) = [(name, each) for name, one in self.scripted.items() for each in one.requests]
        self.scripted[name].requests.clear()
        return name, request


def answers(name: str) -> Any:
    """What one provider says: its own name, a call of a tool that is offered, or JSON if that is asked."""

    def answer(request: ReceivedRequest) -> Reply:
        body = request.json_object()
        if body.get("tools"):
            return Reply(json=_tool_call(body["model"]))
        if body.get("response_format"):
            return Reply(City(name=name, country="France").model_dump_json())
        return Reply(f"I am {name}.")

    return answer


def _tool_call(model: str) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as environment:
        portal = stack.enter_context(start_blocking_portal())
        scripted, mapped = {}, []
        for name, served in SERVED.items():
            scripted[name] = ScriptedProvider()
            scripted[name].answer_with(answers(name))
            url = stack.enter_context(portal.wrap_async_context_manager(scripted[name].running()))
            variable = f"KEY_OF_{name.upper()}"
            environment.setenv(variable, served.key)
            mapped.append(MappedProvider(name, served.origin, url, credential_variable=variable))
        models = {f"my-{name}": f"{name}/{served.model}" for name, served in SERVED.items()}
        bed = stack.enter_context(Testbed("scripted", providers=mapped, models=models))
        yield Providers(scripted, bed)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, providers: Providers, endpoint_of: Endpoints) -> Iterator[Way]:
    yield from way_of(providers.bed.relay, request.param, endpoint_of, models=True)


def check(providers: Providers, name: str) -> dict[str, Any]:
    """The request has reached the provider with that name, as it expects requests; gives its body."""
    reached, request = providers.received()
    served = SERVED[name]
    headers = dict(request.headers)
    body = request.json_object()
    assert (reached, request.path, body["model"]) == (name, served.path, served.model)
    assert headers["authorization"] == f"Bearer {served.key}"
    assert not {header for header in headers if header.startswith("blindrelay-")}
    return body


@NAMES
@works("openai", "many providers by one base URL")
def test_the_name_of_a_model_reaches_its_provider(name: str, way: Way, providers: Providers) -> None:
    client = client_by(way, max_retries=0)
    whole = client.chat.completions.with_raw_response.create(model=f"my-{name}", messages=ask("Who?"))
    assert whole.headers["blindrelay-served-by"] == f"{name}/{SERVED[name].model}"
    assert whole.parse().choices[0].message.content == f"I am {name}."
    assert check(providers, name)["messages"] == ask("Who?")
    stream = client.chat.completions.create(model=f"my-{name}", messages=ask("Who?"), stream=True)
    assert said(list(stream)) == f"I am {name}."
    assert check(providers, name)["stream"] is True


@NAMES
@works("openai", "many providers by one base URL")
async def test_the_same_asynchronously(name: str, way: Way, providers: Providers) -> None:
    async with async_client_by(way) as client:
        answer = await client.chat.completions.create(model=f"my-{name}", messages=ask("Who?"))
        assert answer.choices[0].message.content == f"I am {name}."
        check(providers, name)
        stream = await client.chat.completions.create(model=f"my-{name}", messages=ask("Who?"), stream=True)
        assert said([chunk async for chunk in stream]) == f"I am {name}."
        check(providers, name)


@NAMES
@works("openai", "many providers by one base URL")
def test_tools_and_structured_output(name: str, way: Way, providers: Providers) -> None:
    client = client_by(way, max_retries=0)
    asked = client.chat.completions.create(model=f"my-{name}", messages=ask("Rain?"), tools=TOOLS)
    call: Any = (asked.choices[0].message.tool_calls or [])[0]
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city":"Paris"}')
    assert check(providers, name)["tools"][0]["function"]["parameters"] == PARAMETERS
    parsed = client.chat.completions.parse(model=f"my-{name}", messages=ask("Where?"), response_format=City)
    assert parsed.choices[0].message.parsed == City(name=name, country="France")
    assert check(providers, name)["response_format"]["type"] == "json_schema"


def test_salt_of_the_conversation_reaches_a_target_whose_cache_takes_one(
    way: Way, providers: Providers
) -> None:
    client = client_by(way, max_retries=0)
    answer = {"role": "assistant", "content": "Yes."}
    salts = []
    for messages in (ask("Who?"), [*ask("Who?"), answer, *ask("Really?")], ask("What?")):
        client.chat.completions.create(model="my-deepseek", messages=messages)
        salts.append(check(providers, "deepseek")["user_id"])
    assert [len(bytes.fromhex(salt)) for salt in salts] == [32, 32, 32]
    assert salts[0] == salts[1] != salts[2]


def test_all_names_are_listed_and_others_are_not_found(way: Way, providers: Providers) -> None:
    client = client_by(way, max_retries=0)
    assert {model.id for model in client.models.list()} >= {f"my-{name}" for name in SERVED}
    for one in providers.scripted.values():
        one.requests.clear()
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="nobody", messages=ask("Who?"))
    assert raised.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError, match="nobody"):
        anthropic_by(way, max_retries=0).messages.create(**asking("Who?", model="nobody"))
    assert not [each for one in providers.scripted.values() for each in one.requests]


@works("anthropic", "many providers by one base URL")
def test_anthropics_sdk_reaches_who_speaks_its_dialect(way: Way, providers: Providers) -> None:
    client = anthropic_by(way, max_retries=0)
    message = client.messages.create(**asking("Who?", model="my-anthropic"))
    assert anthropic_said(message) == "I am anthropic."
    _, request = providers.received()
    assert (request.path, request.json["model"]) == ("/v1/messages", "claude-opus-5")
    assert dict(request.headers)["x-api-key"] == SERVED["anthropic"].key
    with client.messages.stream(**asking("Who?", model="my-anthropic")) as stream:
        assert "".join(stream.text_stream) == "I am anthropic."
    providers.received()


@works("anthropic", "many providers by one base URL")
async def test_anthropics_sdk_asynchronously(way: Way, providers: Providers) -> None:
    async with async_anthropic_by(way) as client:
        message = await client.messages.create(**asking("Who?", model="my-anthropic"))
    assert anthropic_said(message) == "I am anthropic."
    providers.received()


def test_a_target_that_does_not_speak_anthropics_dialect_is_refused(way: Way, providers: Providers) -> None:
    client = anthropic_by(way, max_retries=0)
    with pytest.raises(anthropic.APIStatusError, match="my-groq is served by groq, which does not"):
        client.messages.create(**asking("Who?", model="my-groq"))
    assert not providers.scripted["groq"].requests


@pytest.fixture(params=WAYS)
def own_keys(
    request: pytest.FixtureRequest,
    providers: Providers,
    endpoint_of: Endpoints,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Way]:
    """A way for somebody with keys of their own, for two of the providers."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text("openai sk-mine\ngroq gsk-mine\n")
    file.chmod(0o600)
    relay = f"{providers.bed.relay}&keys={file}{BROUGHT}"
    yield from way_of(relay, request.param, endpoint_of, models=True)


@works("openai", "several keys of your own")
def test_each_key_of_ones_own_is_for_its_provider_alone(own_keys: Way, providers: Providers) -> None:
    client = client_by(own_keys, max_retries=0)
    for name, key in (("openai", "sk-mine"), ("groq", "gsk-mine")):
        answer = client.chat.completions.create(model=f"my-{name}", messages=ask("Who?"))
        assert answer.choices[0].message.content == f"I am {name}."
        reached, request = providers.received()
        assert (reached, dict(request.headers)["authorization"]) == (name, f"Bearer {key}")
        assert "mine" not in str([each for each in request.headers if each[0] != "authorization"])
    with pytest.raises(openai.APIStatusError, match="mistral"):
        client.chat.completions.create(model="my-mistral", messages=ask("Who?"))
    assert not providers.scripted["mistral"].requests
