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

from ..conftest import PARIS, Endpoints
from ..works import case, shown_by

SCRIPTS: Final = Path(__file__).with_name("npm")
INSTALLED: Final = Path(__file__).parents[3] / ".npm" / "sdks"

OPENAI: Final = "npm openai"
ANTHROPIC: Final = "npm @anthropic-ai/sdk"
AI: Final = "npm ai"
GOOGLE: Final = "npm @google/genai"

SCRIPT_OF: Final = {OPENAI: "openai", ANTHROPIC: "anthropic", AI: "ai", GOOGLE: "genai"}

WEATHER: Final = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
Results = Callable[..., Any]


@pytest.fixture(scope="module")
def results(mock_bed: Testbed, endpoint_of: Endpoints) -> Results:
    """What a script's checks gave, with this path after the endpoint's address; each runs once."""
    endpoint = endpoint_of(mock_bed.relay)

    @cache
    def run(script: str, path: str = "") -> Any:
        environment = {**os.environ, "ENDPOINT": endpoint.url + path, "TOKEN": endpoint.token}
        command = ["node", str(SCRIPTS / "run.mjs"), script, str(INSTALLED)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])  # before it, what an SDK had to say

    return run


@pytest.mark.parametrize(
    "expected",
    [
        case(OPENAI, PARIS, "chat"),
        case(OPENAI, PARIS, "chat, streamed"),
        case(OPENAI, WEATHER, "tools"),
        case(OPENAI, PARIS, "responses"),
        case(OPENAI, 2, "embeddings"),
        case(OPENAI, True, "models"),
        case(OPENAI, PARIS, "audio, transcribed"),
        case(OPENAI, [429, "7"], "the provider's errors"),
        case(OPENAI, "an error", "a cut stream is an error"),
        case(ANTHROPIC, PARIS, "messages"),
        case(ANTHROPIC, PARIS, "the streaming helper"),
        case(ANTHROPIC, {"name": "get_weather", "input": {"city": "Paris"}}, "tools"),
        case(ANTHROPIC, [429, "7"], "the provider's errors"),
        case(ANTHROPIC, "an error", "a cut stream is an error"),
        case(AI, PARIS, "OpenAI's responses"),
        case(AI, PARIS, "OpenAI's responses, streamed"),
        case(AI, PARIS, "OpenAI's chat"),
        case(AI, PARIS, "OpenAI's chat, streamed"),
        case(AI, True, "OpenAI's embeddings"),
        case(AI, PARIS, "Anthropic's messages"),
        case(AI, PARIS, "Anthropic's messages, streamed"),
        case(GOOGLE, PARIS, "content"),
        case(GOOGLE, PARIS, "content, streamed"),
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


@pytest.mark.parametrize(
    "place",
    [
        case(OPENAI, ("openai", "/models"), "all models of a bridge"),
        case(ANTHROPIC, ("anthropic", "/models/anthropic"), "all models of a bridge"),
    ],
)
def test_address_of_all_models_does_what_the_providers_own_does(
    place: tuple[str, str], results: Results
) -> None:
    script, path = place
    assert results(script, path) == results(script)
