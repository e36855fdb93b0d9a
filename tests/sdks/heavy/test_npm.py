"""The SDKs for JavaScript, unmodified, through the endpoint. The checks are in npm/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from blindrelay.testbed import Testbed

from ...client.endpoint.conftest import Endpoint
from ..conftest import PARIS
from ..works import works

SCRIPTS: Final = Path(__file__).with_name("npm")
INSTALLED: Final = Path(__file__).parents[3] / ".npm" / "sdks"

OPENAI: Final = "npm openai"
ANTHROPIC: Final = "npm @anthropic-ai/sdk"
AI: Final = "npm ai"
GOOGLE: Final = "npm @google/genai"

WEATHER: Final = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
Results = Callable[[str], Any]


@pytest.fixture(scope="module")
def results(mock_bed: Testbed, mock_endpoint: Endpoint) -> Results:
    """What a script's checks gave; each script runs once."""
    environment = {**os.environ, "ENDPOINT": mock_endpoint.url, "TOKEN": mock_endpoint.token}

    @cache
    def run(script: str) -> Any:
        command = ["node", str(SCRIPTS / "run.mjs"), script, str(INSTALLED)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])  # before it, what an SDK had to say

    return run


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        pytest.param("chat", PARIS, marks=works(OPENAI, "chat")),
        pytest.param("chat, streamed", PARIS, marks=works(OPENAI, "chat, streamed")),
        pytest.param("tools", WEATHER, marks=works(OPENAI, "tools")),
        pytest.param("responses", PARIS, marks=works(OPENAI, "responses")),
        pytest.param("embeddings", 2, marks=works(OPENAI, "embeddings")),
        pytest.param("models", True, marks=works(OPENAI, "models")),
        pytest.param("audio, transcribed", PARIS, marks=works(OPENAI, "audio, transcribed")),
        pytest.param("the provider's errors", [429, "7"], marks=works(OPENAI, "the provider's errors")),
        pytest.param("a cut stream is an error", "an error", marks=works(OPENAI, "a cut stream is an error")),
    ],
)
def test_openai(results: Results, check: str, expected: Any) -> None:
    assert results("openai")[check] == expected


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        pytest.param("messages", PARIS, marks=works(ANTHROPIC, "messages")),
        pytest.param("the streaming helper", PARIS, marks=works(ANTHROPIC, "the streaming helper")),
        pytest.param(
            "tools", {"name": "get_weather", "input": {"city": "Paris"}}, marks=works(ANTHROPIC, "tools")
        ),
        pytest.param("the provider's errors", [429, "7"], marks=works(ANTHROPIC, "the provider's errors")),
        pytest.param(
            "a cut stream is an error", "an error", marks=works(ANTHROPIC, "a cut stream is an error")
        ),
    ],
)
def test_anthropic(results: Results, check: str, expected: Any) -> None:
    assert results("anthropic")[check] == expected


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        pytest.param("OpenAI's responses", PARIS, marks=works(AI, "OpenAI's responses")),
        pytest.param("OpenAI's responses, streamed", PARIS, marks=works(AI, "OpenAI's responses, streamed")),
        pytest.param("OpenAI's chat", PARIS, marks=works(AI, "OpenAI's chat")),
        pytest.param("OpenAI's chat, streamed", PARIS, marks=works(AI, "OpenAI's chat, streamed")),
        pytest.param("OpenAI's embeddings", True, marks=works(AI, "OpenAI's embeddings")),
        pytest.param("Anthropic's messages", PARIS, marks=works(AI, "Anthropic's messages")),
        pytest.param(
            "Anthropic's messages, streamed", PARIS, marks=works(AI, "Anthropic's messages, streamed")
        ),
    ],
)
def test_ai(results: Results, check: str, expected: Any) -> None:
    assert results("ai")[check] == expected


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        pytest.param("content", PARIS, marks=works(GOOGLE, "content")),
        pytest.param("content, streamed", PARIS, marks=works(GOOGLE, "content, streamed")),
    ],
)
def test_google(results: Results, check: str, expected: Any) -> None:
    assert results("genai")[check] == expected


@pytest.mark.parametrize("level", ["--wall", "--no-wall"])
def test_run_holds_every_sdk(mock_bed: Testbed, tmp_path: Path, level: str) -> None:
    """Without an address they find the endpoint; given the provider's own, they do not leave."""
    node = ["node", str(SCRIPTS / "run.mjs"), "unsealed", str(INSTALLED)]
    done = subprocess.run(
        [sys.executable, "-m", "blindrelay.client", "run", level, "--", *node],
        env={**os.environ, "BLINDRELAY_CONNECTION": mock_bed.relay, "BLINDRELAY_STATE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    past = {name: found.pop(name) for name in list(found) if name.endswith(", at the provider")}
    assert set(found.values()) == {PARIS}
    assert set(past.values()) == {"not sealed"}
    assert len(past) == len(found) == 5
    assert "refused because not sealed: " in done.stderr
