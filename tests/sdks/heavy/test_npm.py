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
from ..works import case, shown_by

SCRIPTS: Final = Path(__file__).with_name("npm")
INSTALLED: Final = Path(__file__).parents[3] / ".npm" / "sdks"

OPENAI: Final = "npm openai"
ANTHROPIC: Final = "npm @anthropic-ai/sdk"
AI: Final = "npm ai"
GOOGLE: Final = "npm @google/genai"

SCRIPT_OF: Final = {OPENAI: "openai", ANTHROPIC: "anthropic", AI: "ai", GOOGLE: "genai"}

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
    "expected",
    [
        case(OPENAI, "chat", PARIS),
        case(OPENAI, "chat, streamed", PARIS),
        case(OPENAI, "tools", WEATHER),
        case(OPENAI, "responses", PARIS),
        case(OPENAI, "embeddings", 2),
        case(OPENAI, "models", True),
        case(OPENAI, "audio, transcribed", PARIS),
        case(OPENAI, "the provider's errors", [429, "7"]),
        case(OPENAI, "a cut stream is an error", "an error"),
        case(ANTHROPIC, "messages", PARIS),
        case(ANTHROPIC, "the streaming helper", PARIS),
        case(ANTHROPIC, "tools", {"name": "get_weather", "input": {"city": "Paris"}}),
        case(ANTHROPIC, "the provider's errors", [429, "7"]),
        case(ANTHROPIC, "a cut stream is an error", "an error"),
        case(AI, "OpenAI's responses", PARIS),
        case(AI, "OpenAI's responses, streamed", PARIS),
        case(AI, "OpenAI's chat", PARIS),
        case(AI, "OpenAI's chat, streamed", PARIS),
        case(AI, "OpenAI's embeddings", True),
        case(AI, "Anthropic's messages", PARIS),
        case(AI, "Anthropic's messages, streamed", PARIS),
        case(GOOGLE, "content", PARIS),
        case(GOOGLE, "content, streamed", PARIS),
    ],
)
def test_check_of_a_script(results: Results, request: pytest.FixtureRequest, expected: Any) -> None:
    ((sdk, feature, _),) = shown_by(request.node)
    assert results(SCRIPT_OF[sdk])[feature] == expected


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
