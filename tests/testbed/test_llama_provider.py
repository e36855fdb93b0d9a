"""llama.cpp with the random model: a real server for every call that the suite makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from blindrelay.testbed import PartDiedError, write_random_model
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.random_model import WORDS

QUESTION: dict[str, Any] = {
    "model": "random",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 8,
    "temperature": 0,
}


def test_a_chat_is_answered_in_words_of_the_model(llama: httpx2.Client) -> None:
    answer = llama.post("/v1/chat/completions", json=QUESTION).json()
    assert answer["usage"]["completion_tokens"] > 0
    assert set(answer["choices"][0]["message"]["content"].split()) <= set(WORDS)


def test_a_chat_streams_and_says_the_same(llama: httpx2.Client) -> None:
    whole = llama.post("/v1/chat/completions", json=QUESTION).json()["choices"][0]["message"]["content"]
    with llama.stream("POST", "/v1/chat/completions", json={**QUESTION, "stream": True}) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events]
    assert len(list(filter(None, pieces))) > 1
    assert "".join(pieces) == whole


def test_responses_messages_and_models_are_served(llama: httpx2.Client) -> None:
    response = llama.post("/v1/responses", json={"model": "random", "input": "hi", "max_output_tokens": 4})
    assert response.json()["status"] == "completed"
    assert llama.post("/v1/messages", json=QUESTION).json()["stop_reason"] == "max_tokens"
    assert llama.get("/v1/models").json()["data"][0]["id"] == "random"


def test_the_same_process_makes_embeddings(llama: httpx2.Client) -> None:
    given = {"model": "random", "input": ["hello", "world"]}
    first, second = llama.post("/v1/embeddings", json=given).json()["data"]
    assert len(first["embedding"]) == 64
    assert first["embedding"] != second["embedding"]


def test_a_port_that_is_taken_is_a_clear_end(llama: httpx2.Client, tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model.gguf")
    arguments = ["--model", str(model), "--port", str(llama.base_url.port)]
    part = PartProcess("provider", "blindrelay.testbed.llama_provider", lambda: arguments)
    with pytest.raises(PartDiedError, match=r"exit code 1(.|\n)*could not serve .* on port \d+"):
        part.start()
