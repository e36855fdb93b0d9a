"""The scripted provider as a process: each request directs its own response.

What the responses look like to SDKs is tested in tests/testing, and how they end in tests/end_to_end.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx2

CHAT = "/v1/chat/completions"
DIGEST = hashlib.sha256(b"word").hexdigest()[:40]


def body(stream: bool = False, **script: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    return {"model": "m", "messages": messages, "stream": stream, "scripted": script}


def ask(scripted: httpx2.Client, **script: Any) -> Any:
    return scripted.post(CHAT, json=body(**script)).raise_for_status().json()["choices"][0]["message"]


def streamed(scripted: httpx2.Client, **script: Any) -> str:
    """The text of a stream."""
    lines = scripted.post(CHAT, json=body(stream=True, **script)).text.splitlines()
    data = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    return "".join(each["choices"][0]["delta"].get("content") or "" for each in data)


def test_text_is_the_same_whole_and_streamed(scripted: httpx2.Client) -> None:
    for text in ("The capital of France is Paris.", 'a "quoted" word, \\ and ü', ""):
        script = {"text": text} if text else {"answer_bytes": 0}
        assert ask(scripted, **script)["content"] == streamed(scripted, **script) == text
    assert ask(scripted, digest="word")["content"] == f"{DIGEST} is the answer."


def test_tool_calls_and_errors_have_the_digest(scripted: httpx2.Client) -> None:
    (call,) = ask(scripted, tool="word")["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"word": DIGEST}
    error = scripted.post(CHAT, json=body(status=429, headers={"retry-after": "7"}, digest="word"))
    assert (error.status_code, error.headers["retry-after"]) == (429, "7")
    assert error.json()["error"]["message"] == DIGEST


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
