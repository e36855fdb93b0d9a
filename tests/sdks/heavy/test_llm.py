"""llm, the command line, unmodified: the endpoint's address and token in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from ..conftest import PARIS, Way
from ..works import works

SDK: Final = "llm"
Llm = Callable[..., str]


@pytest.fixture
def llm(endpoint_way: Way, tmp_path: Path) -> Llm:
    environment = {
        **os.environ,
        "LLM_USER_PATH": str(tmp_path),
        "OPENAI_BASE_URL": endpoint_way.url("/v1"),
        "OPENAI_API_KEY": endpoint_way.key,
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@works(SDK, "chat, streamed", "chat", "embeddings")
def test_a_question(llm: Llm) -> None:
    assert llm("-m", "gpt-4o-mini", "What is the capital of France?") == PARIS
    assert llm("-m", "gpt-4o-mini", "--no-stream", "What is the capital of France?") == PARIS
    assert llm("embed", "-m", "text-embedding-3-small", "-c", "Paris").startswith("[")
