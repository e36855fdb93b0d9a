"""Commands at the one address with all models of a bridge, which is the real one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from blindrelay.testing import LocalBlindRelay, Reply

from .conftest import Run, refused, succeeded

MODELS = {"smart": ["groq/oss", "openai/gpt-5.5"], "claude": "anthropic/claude-opus-5"}


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalBlindRelay]:
    """Configured in the environment, as an operator hands it out."""
    with LocalBlindRelay(models=MODELS) as local:
        relay = f"{local.connection_string}&shape=off&provider=models"
        monkeypatch.setenv("BLINDRELAY_CONNECTION", relay)
        yield local


def test_names_are_listed(local: LocalBlindRelay, run: Run) -> None:
    assert succeeded(run, "models").split() == ["claude", "smart"]
    assert local.provider.requests == []


def test_answer_says_who_gave_it(local: LocalBlindRelay, run: Run) -> None:
    local.provider.reply("busy", status=429)
    local.provider.reply("I am the second.")
    answer = json.loads(succeeded(run, "chat", "--model", "smart", "--json", "Who are you?"))
    assert answer["answer"] == "I am the second."
    assert answer["served_by"] == "openai/gpt-5.5"
    assert answer["served_model"] == "scripted"


def test_unknown_name_is_the_askers_mistake(local: LocalBlindRelay, run: Run) -> None:
    said = refused(run, "chat", "--model", "nobody", "Who are you?", code=4)
    assert said == "blindrelay: The model `nobody` does not exist at this bridge.\n"
    assert local.provider.requests == []


@pytest.mark.usefixtures("local")
def test_doctor_asks_for_the_list(run: Run) -> None:
    assert succeeded(run, "doctor").splitlines()[-1].endswith("models lists 2 models")


ASK_BOTH = """
import anthropic, openai
messages = [{"role": "user", "content": "Who are you?"}]
answer = openai.OpenAI(max_retries=0).chat.completions.create(model="smart", messages=messages)
print(answer.choices[0].message.content)
answer = anthropic.Anthropic(max_retries=0).messages.create(model="claude", messages=messages, max_tokens=9)
print(answer.content[0].text)
"""


def test_program_gets_them_without_a_change(local: LocalBlindRelay, run: Run) -> None:
    local.provider.answer_with(lambda request: Reply(f"I am {request.json['model']}."))
    out = succeeded(run, "run", "--no-wall", "--", sys.executable, "-c", ASK_BOTH)
    assert out.splitlines() == ["I am oss.", "I am claude-opus-5."]
