"""The scripted provider: the official SDKs read it, and it does what a request tells it to."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

PARIS = "The capital of France is Paris."
QUESTION = "What is the capital of France?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(scripted: httpx2.Client) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="key", base_url=str(scripted.base_url.join("/v1")), max_retries=0) as client:
        yield client


@pytest.fixture
def claude(scripted: httpx2.Client) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="key", base_url=str(scripted.base_url), max_retries=0) as client:
        yield client


def _ask(client: openai.OpenAI, **script: Any) -> str | None:
    answer = client.chat.completions.create(model="m", messages=MESSAGES, extra_body={"scripted": script})
    return answer.choices[0].message.content


def _pieces(client: openai.OpenAI, **script: Any) -> Iterator[str]:
    stream = client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, extra_body={"scripted": script}
    )
    with stream:
        for chunk in stream:
            if content := chunk.choices[0].delta.content:
                yield content


def _outcome(scripted: httpx2.Client, wanted: str) -> str:
    """How the last response ended, as soon as it is `wanted`; otherwise after five seconds."""
    for _ in range(500):
        outcome = str(scripted.get("/scripted/requests").json()[-1]["outcome"])
        if outcome == wanted:
            break
        time.sleep(0.01)
    return outcome


def test_openai_chat(client: openai.OpenAI) -> None:
    assert _ask(client) == PARIS
    assert list(_pieces(client)) == ["The", " capital", " of", " France", " is", " Paris."]


def test_openai_responses(client: openai.OpenAI) -> None:
    assert client.responses.create(model="m", input=QUESTION).output_text == PARIS
    with client.responses.stream(model="m", input=QUESTION) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "".join(deltas) == PARIS


def test_openai_embeddings_and_models(client: openai.OpenAI) -> None:
    data = client.embeddings.create(model="m", input=["a", "bb"]).data
    assert [item.embedding[0] for item in data] == [1.0, 2.0]
    assert [model.id for model in client.models.list()] == ["scripted"]


def test_anthropic_messages(claude: anthropic.Anthropic) -> None:
    whole = claude.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    assert [block.text for block in whole.content if block.type == "text"] == [PARIS]
    with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == PARIS
        assert stream.get_final_message().stop_reason == "end_turn"
    assert claude.messages.count_tokens(model="m", messages=MESSAGES).input_tokens == 1


def test_it_says_what_it_is_told(client: openai.OpenAI) -> None:
    text = 'a "quoted" word, \\ and ü'
    assert _ask(client, text=text) == text
    assert "".join(_pieces(client, text=text)) == text


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
def test_it_says_as_much_as_it_is_told(client: openai.OpenAI, size: int) -> None:
    assert _ask(client, answer_bytes=size) == "x" * size
    assert "".join(_pieces(client, answer_bytes=size)) == "x" * size


def test_an_error_has_its_status_and_headers(client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    script = {"status": 429, "headers": {"retry-after": "7"}}
    with pytest.raises(openai.RateLimitError, match="scripted 429") as limited:
        _ask(client, **script)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.RateLimitError, match="scripted 429"):
        claude.messages.create(model="m", max_tokens=9, messages=MESSAGES, extra_body={"scripted": script})


def test_the_last_piece_waits_at_its_gate(client: openai.OpenAI, scripted: httpx2.Client) -> None:
    pieces = _pieces(client, hold="last piece")
    assert [next(pieces) for _ in range(5)] == ["The", " capital", " of", " France", " is"]
    assert scripted.get("/scripted/requests").json()[-1]["outcome"] == "open"
    scripted.post("/scripted/release", json={"gate": "last piece"})
    assert list(pieces) == [" Paris."]


def test_it_breaks_off_after_so_many_pieces(client: openai.OpenAI, scripted: httpx2.Client) -> None:
    pieces = _pieces(client, break_after=2)
    assert [next(pieces), next(pieces)] == ["The", " capital"]
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        next(pieces)
    assert _outcome(scripted, "broken off") == "broken off"


def test_it_notices_that_nobody_listens_any_more(client: openai.OpenAI, scripted: httpx2.Client) -> None:
    with client.chat.completions.create(
        model="m", messages=MESSAGES, stream=True, extra_body={"scripted": {"hold": "never"}}
    ) as stream:
        next(iter(stream))
    assert _outcome(scripted, "abandoned") == "abandoned"


def test_it_echoes_what_it_received(client: openai.OpenAI, scripted: httpx2.Client) -> None:
    seen = json.loads(_ask(client, echo=True) or "")
    assert (seen["method"], seen["path"]) == ("POST", "/v1/chat/completions")
    assert ["authorization", "Bearer key"] in seen["headers"]
    other = scripted.put("/v1/anything?at=all", content=b"body").json()
    assert (other["method"], other["path"], other["body_bytes"]) == ("PUT", "/v1/anything?at=all", 4)
    assert other["body_sha256"] == hashlib.sha256(b"body").hexdigest()


def test_a_chunked_body_is_read_and_the_connection_kept(scripted: httpx2.Client) -> None:
    for size in (1, 70_000):
        answer = scripted.post("/v1/files", content=iter([b"ab", b"c" * size]))
        assert answer.json()["body_bytes"] == 2 + size


def test_it_takes_its_time(client: openai.OpenAI) -> None:
    """At least what it was told; a sleep may end a clock's tick early."""
    started = time.monotonic()
    pieces = _pieces(client, first_piece_seconds=0.2, pieces_per_second=20)
    next(pieces)
    assert time.monotonic() - started >= 0.9 * 0.2
    list(pieces)
    assert time.monotonic() - started >= 0.9 * (0.2 + 5 / 20)


def test_a_script_with_a_mistake_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="pieces_per_minute"):
        _ask(client, pieces_per_minute=3)


def test_an_answer_at_once_is_held_before_its_last_byte(scripted: httpx2.Client) -> None:
    script = json.dumps({"hold": "last byte"})
    with scripted.stream("GET", "/v1/models/m", params={"scripted": script}) as answer:
        pieces = answer.iter_raw()
        body = next(pieces)
        assert len(body) == int(answer.headers["content-length"]) - 1
        scripted.post("/scripted/release", json={"gate": "last byte"})
        assert json.loads(body + b"".join(pieces))["method"] == "GET"


def test_a_wrong_script_in_the_query_is_an_error(scripted: httpx2.Client) -> None:
    assert scripted.get("/v1/models/m", params={"scripted": "{"}).status_code == 400
