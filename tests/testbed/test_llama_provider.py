"""llama.cpp with the random model, whose seed decides every byte, as a process."""

from __future__ import annotations

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


def test_llama_cpp_answers_in_words_of_the_model(llama: httpx2.Client) -> None:
    answer = llama.post("/v1/chat/completions", json=QUESTION).json()
    assert answer["usage"]["completion_tokens"] > 0
    assert set(answer["choices"][0]["message"]["content"].split()) <= set(WORDS)


def test_taken_port_is_reported(llama: httpx2.Client, tmp_path: Path) -> None:
    model = write_random_model(tmp_path / "model.gguf")
    arguments = ["--model", str(model), "--port", str(llama.base_url.port)]
    part = PartProcess("provider", "blindrelay.testbed.llama_provider", lambda: arguments)
    with pytest.raises(PartDiedError, match=r"exit code 1(.|\n)*could not serve .* on port \d+"):
        part.start()


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="what writes GGUF files is not installed")
    first, again, other = (write_random_model(tmp_path / "model", seed).read_bytes() for seed in (7, 7, 8))
    assert first == again != other
