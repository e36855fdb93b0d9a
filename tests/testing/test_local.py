"""blindrelay.testing, used as a program's tests use it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import anyio
import httpx2
import openai
import pytest
from anyio.from_thread import start_blocking_portal
from google import genai

from blindrelay.client import BridgeError
from blindrelay.serving import ConfigError
from blindrelay.testing import Gate, LocalBlindRelay, ReceivedRequest, Reply
from tests.patience import PATIENCE

MESSAGES: Any = [{"role": "user", "content": "my secret"}]


@pytest.fixture
def client(blindrelay: LocalBlindRelay) -> openai.OpenAI:
    return openai.OpenAI(api_key="any", http_client=blindrelay.sealed.httpx2_client(), max_retries=0)


def ask(client: openai.OpenAI) -> str | None:
    return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content


def words(client: openai.OpenAI) -> list[str]:
    with client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
        return [content for chunk in stream if (content := chunk.choices[0].delta.content)]


def test_provider_lists_requests_and_relay_saw_nothing_of_them(
    blindrelay: LocalBlindRelay, client: openai.OpenAI
) -> None:
    blindrelay.provider.reply("my answer")
    assert ask(client) == "my answer"
    (request,) = blindrelay.provider.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json["messages"] == MESSAGES
    assert "authorization" not in dict(request.headers), "the SDK's key stays here"
    (exchange,) = blindrelay.relay_saw
    assert exchange.request_bytes > len(request.body)
    assert exchange.response_bytes > 0
    assert exchange.envelope.max_units > 0
    assert "my secret" not in exchange
    assert b"my answer" not in exchange
    assert exchange.request_messages[0][:40] in exchange, "the search finds what is there"
    assert len(repr(exchange)) < 80, "a failed assertion prints no ciphertext"


def test_responses_messages_and_gemini_are_spoken(blindrelay: LocalBlindRelay, client: openai.OpenAI) -> None:
    blindrelay.provider.answer_with(lambda _: Reply("two words"))
    assert client.responses.create(model="m", input="x", store=False).output_text == "two words"
    with client.responses.stream(model="m", input="x", store=False) as responses:
        deltas = [event.delta for event in responses if event.type == "response.output_text.delta"]
        assert responses.get_final_response().output_text == "".join(deltas) == "two words"
    claude = anthropic.Anthropic(api_key="any", http_client=blindrelay.sealed.httpx2_client(), max_retries=0)
    with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        assert list(stream.text_stream) == ["two", " words"]
        assert stream.get_final_message().stop_reason == "end_turn"
    options = genai.types.HttpOptions(httpx_client=blindrelay.sealed.httpx_client())
    models = genai.Client(api_key="any", http_options=options).models
    assert models.generate_content(model="m", contents="x").text == "two words"
    pieces = [piece.text for piece in models.generate_content_stream(model="m", contents="x")]
    assert [piece for piece in pieces if piece] == ["two", " words"]
    assert [model.id for model in client.models.list()] == ["scripted"]
    data = client.embeddings.create(model="m", input=["a", "bb"]).data
    assert [item.embedding[0] for item in data] == [1.0, 2.0]


def test_json_is_sent_as_it_is(blindrelay: LocalBlindRelay) -> None:
    blindrelay.provider.reply(json={"input_tokens": 7})
    with blindrelay.sealed.httpx2_client() as http:
        answer = http.post("https://api.anthropic.com/v1/messages/count_tokens", json={"model": "m"})
        assert answer.json() == {"input_tokens": 7}
        unknown = http.post("https://api.openai.com/v1/moderations", json={"input": "x"})
        assert unknown.status_code == 404
        assert "Reply(json=...)" in unknown.text


def test_a_handler_sees_the_request_and_may_be_a_coroutine(
    blindrelay: LocalBlindRelay, client: openai.OpenAI
) -> None:
    async def handler(request: ReceivedRequest) -> Reply:
        await asyncio.sleep(0)
        return Reply(request.json["messages"][0]["content"].upper())

    blindrelay.provider.answer_with(handler)
    assert ask(client) == "MY SECRET"


def raises(request: ReceivedRequest) -> Reply:
    raise KeyError("tools")


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (raises, r"raised KeyError\('tools'\)"),
        (lambda _: "Hello", "returned str, not Reply"),
        (lambda _: Reply(json={"at": object()}), "object is not JSON serializable"),
    ],
)
def test_a_handler_that_fails_is_named(
    blindrelay: LocalBlindRelay, client: openai.OpenAI, handler: Any, words: str
) -> None:
    blindrelay.provider.answer_with(handler)
    with pytest.raises(openai.InternalServerError, match=words):
        ask(client)


def test_a_reply_has_its_status_and_headers(blindrelay: LocalBlindRelay, client: openai.OpenAI) -> None:
    blindrelay.provider.reply("slow down", status=429, headers={"retry-after": "7"})
    with pytest.raises(openai.RateLimitError, match="slow down") as limited:
        ask(client)
    assert limited.value.response.headers["retry-after"] == "7"
    blindrelay.provider.reply("Hello", headers={"Content-Type": "text/plain"})
    with blindrelay.sealed.httpx2_client() as http:
        response = http.post("https://api.openai.com/v1/chat/completions", json={"messages": MESSAGES})
    assert response.headers.get_list("content-type") == ["text/plain"]


def test_replies_are_used_in_order_cut_or_held(blindrelay: LocalBlindRelay, client: openai.OpenAI) -> None:
    blindrelay.provider.reply("one")
    blindrelay.provider.reply("two words")
    assert (ask(client), words(client)) == ("one", ["two", " words"]), "replies are used in order"
    assert ask(client) == "Hello from the scripted provider.", "then comes the default"
    blindrelay.provider.reply("one two three", cut_after=2)
    with pytest.raises((BridgeError, openai.APIConnectionError, httpx2.TransportError)):
        words(client)
    gate = Gate()
    blindrelay.provider.reply("one two", hold=gate)
    with client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
        pieces = (content for chunk in stream if (content := chunk.choices[0].delta.content))
        assert next(pieces) == "one"
        assert [each.outcome for each in blindrelay.provider.requests][-2:] == ["broken off", "open"]
        gate.release()
        assert list(pieces) == [" two"]


def test_the_bridge_refuses_what_it_would_refuse_in_production(
    blindrelay: LocalBlindRelay, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.APIStatusError, match="store"):
        client.responses.create(model="m", input="x", store=True)
    assert blindrelay.provider.requests == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_async_block_ends_whole_or_cancelled(backend: str) -> None:
    local = LocalBlindRelay()

    async def main() -> str | None:
        async with LocalBlindRelay() as other:
            other.provider.reply("Hello")
            client = openai.AsyncOpenAI(api_key="any", http_client=other.sealed.async_httpx2_client())
            answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        with anyio.CancelScope() as scope:
            async with local:
                scope.cancel()
                await anyio.sleep(60)
        assert scope.cancelled_caught
        return answer.choices[0].message.content

    with ThreadPoolExecutor(1) as other_thread:  # in this one a loop is set already
        assert other_thread.submit(lambda: anyio.run(main, backend=backend)).result() == "Hello"
    is_not_running(local)


def is_not_running(local: LocalBlindRelay) -> None:
    with pytest.raises(RuntimeError, match="not running"):
        _ = local.connection_string


def test_a_start_that_asyncio_cancels_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    starting, go_on, started = threading.Event(), threading.Event(), threading.Event()
    enter = LocalBlindRelay.__enter__

    def slow_portal() -> Any:
        starting.set()
        assert go_on.wait(PATIENCE)
        return start_blocking_portal()

    def enter_and_tell(local: LocalBlindRelay) -> LocalBlindRelay:
        try:
            return enter(local)
        finally:
            started.set()

    monkeypatch.setattr("blindrelay.testing.local.start_blocking_portal", slow_portal)
    monkeypatch.setattr(LocalBlindRelay, "__enter__", enter_and_tell)
    local = LocalBlindRelay()

    async def main() -> None:
        opening = asyncio.create_task(local.__aenter__())
        await asyncio.to_thread(starting.wait, PATIENCE)
        opening.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.to_thread(started.wait, PATIENCE)

    asyncio.run(main())
    is_not_running(local)


def test_presets_without_an_address_are_given_one() -> None:
    origin = "https://mine.openai.azure.com"
    with LocalBlindRelay(origins={"azure": origin}) as local:
        options: Any = {"api_key": "any", "http_client": local.sealed.httpx2_client()}
        client = openai.AzureOpenAI(api_version="2024-10-21", azure_endpoint=origin, **options)
        assert ask(client) == "Hello from the scripted provider."


def test_without_a_running_block_there_is_no_connection_string() -> None:
    with pytest.raises(ConfigError, match="colour"), LocalBlindRelay(relay_options={"colour": "blue"}):
        pass
    with pytest.raises(ConfigError, match="size"), LocalBlindRelay(bridge_options={"size": 1}):
        pass
    local = LocalBlindRelay()
    with pytest.raises(RuntimeError, match="`with` block"):
        _ = local.connection_string
    with local:
        assert local.connection_string.startswith("blindrelay://")
    with pytest.raises(RuntimeError, match="`with` block"):
        _ = local.sealed


def test_models_are_at_one_address() -> None:
    with LocalBlindRelay(models={"smart": "openai/gpt-5.5", "groq/*": "groq/*"}) as local:
        client = openai.OpenAI(
            api_key="any",
            base_url=local.sealed.base_url("models"),
            http_client=local.sealed.httpx2_client(),
            max_retries=0,
        )
        for name, path, model in (
            ("smart", "/v1/chat/completions", "gpt-5.5"),
            ("groq/oss", "/openai/v1/chat/completions", "oss"),
        ):
            client.chat.completions.create(model=name, messages=MESSAGES)
            request = local.provider.requests[-1]
            assert (request.path, request.json["model"]) == (path, model)


def test_prices_make_the_bridge_charge() -> None:
    prices = {"openai/*": {"output": 1_000_000}, "anthropic/*": {"call": 5_000_000}}
    with LocalBlindRelay(prices=prices) as local, local.sealed.httpx2_client() as http_client:
        local.provider.reply("one two three four five")
        client = openai.OpenAI(api_key="any", http_client=http_client, max_retries=0)
        answered = client.chat.completions.with_raw_response.create(model="gpt-5.5", messages=MESSAGES)
        bill = answered.http_response.extensions["blindrelay"]
        assert (bill.units, bill.statement.cost, bill.statement.model) == (5, 5_000_000, "scripted")


def test_model_without_a_price_is_refused() -> None:
    with LocalBlindRelay(prices={"openai/gpt-5.5": {"output": 1}}) as local:
        client = openai.OpenAI(api_key="any", http_client=local.sealed.httpx2_client(), max_retries=0)
        with pytest.raises(openai.PermissionDeniedError, match="no price"):
            ask(client)
        assert local.provider.requests == []
