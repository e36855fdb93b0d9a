"""The scripted provider as a process: each request directs its own response, and observers see how it ended.

What the responses look like to SDKs is tested in tests/testing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

CHAT = "/v1/chat/completions"
DIGEST = hashlib.sha256(b"word").hexdigest()[:40]


def body(stream: bool = False, **script: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    return {"model": "m", "messages": messages, "stream": stream, "scripted": script}


def ask(scripted: httpx2.Client, **script: Any) -> Any:
    return scripted.post(CHAT, json=body(**script)).raise_for_status().json()["choices"][0]["message"]


@contextmanager
def words(scripted: httpx2.Client, **script: Any) -> Iterator[Iterator[str]]:
    """The words of a stream, as they come."""
    with scripted.stream("POST", CHAT, json=body(stream=True, **script)) as response:
        data = (line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {"))
        deltas = (json.loads(line)["choices"][0]["delta"] for line in data)
        yield (delta["content"] for delta in deltas if delta.get("content"))


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({}, "The capital of France is Paris."),
        ({"text": 'a "quoted" word, \\ and ü'}, 'a "quoted" word, \\ and ü'),
        ({"digest": "word"}, f"{DIGEST} is the answer."),
        *(({"answer_bytes": size}, "x" * size) for size in (0, 1, 65_536, 1_000_000)),
    ],
    ids=lambda value: str(value)[:30],
)
def test_text_is_the_same_whole_and_streamed(
    scripted: httpx2.Client, script: dict[str, Any], text: str
) -> None:
    assert ask(scripted, **script)["content"] == text
    with words(scripted, **script) as said:
        assert "".join(said) == text


def test_tool_calls_and_errors_have_the_digest(scripted: httpx2.Client) -> None:
    (call,) = ask(scripted, tool="word")["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"word": DIGEST}
    error = scripted.post(CHAT, json=body(status=429, headers={"retry-after": "7"}, digest="word"))
    assert (error.status_code, error.headers["retry-after"]) == (429, "7")
    assert error.json()["error"]["message"] == DIGEST


@pytest.mark.parametrize(
    ("script", "end"), [({"break_after": 2}, "broken off"), ({"hold": "never"}, "abandoned")]
)
def test_observers_see_how_it_ended(scripted: httpx2.Client, script: dict[str, Any], end: str) -> None:
    with words(scripted, **script) as said:
        assert [next(said), next(said)] == ["The", " capital"]
        if end == "broken off":
            with pytest.raises(httpx2.RemoteProtocolError):
                next(said)
    deadline = time.monotonic() + 30
    while (found := scripted.get("/scripted/requests").json()[-1]["outcome"]) != end:
        assert time.monotonic() < deadline, found


def test_it_echoes_what_it_received(scripted: httpx2.Client) -> None:
    seen = json.loads(ask(scripted, echo=True)["content"])
    assert (seen["method"], seen["path"]) == ("POST", CHAT)
    assert ["accept-encoding", scripted.headers["accept-encoding"]] in seen["headers"]
    content = b"ab" + b"c" * 70_000
    other = scripted.put("/v1/anything?at=all", content=iter([content[:2], content[2:]])).json()
    assert (other["method"], other["path"]) == ("PUT", "/v1/anything?at=all")
    assert (other["body_bytes"], other["body_sha256"]) == (70_002, hashlib.sha256(content).hexdigest())


def test_it_takes_its_time(scripted: httpx2.Client) -> None:
    """At least what it was told; a sleep may end a clock's tick early."""
    started = time.monotonic()
    with words(scripted, first_piece_seconds=0.2, pieces_per_second=20) as said:
        next(said)
        assert time.monotonic() - started >= 0.9 * 0.2
        list(said)
        assert time.monotonic() - started >= 0.9 * (0.2 + 5 / 20)


def test_the_query_holds_a_response_before_its_last_byte(scripted: httpx2.Client) -> None:
    script = json.dumps({"hold": "last byte"})
    with scripted.stream("GET", "/v1/models/m", params={"scripted": script}) as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        assert len(first) == int(answer.headers["content-length"]) - 1
        scripted.post("/scripted/release", json={"gate": "last byte"})
        assert json.loads(first + b"".join(pieces))["method"] == "GET"


def test_a_wrong_script_is_refused(scripted: httpx2.Client) -> None:
    refused = scripted.post(CHAT, json=body(pieces_per_minute=3))
    assert (refused.status_code, "pieces_per_minute" in refused.text) == (400, True)
    assert scripted.get("/v1/models/m", params={"scripted": "{"}).status_code == 400
