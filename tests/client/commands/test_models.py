"""`blindrelay models`."""

from __future__ import annotations

import json

import pytest

from ..conftest import ScriptedBridge, responding
from .conftest import Run, refused


@pytest.mark.usefixtures("to_bed")
def test_models_are_listed(run: Run) -> None:
    assert run("models") == (0, "scripted\n", "")
    code, out, err = run("models", "--provider", "anthropic", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"provider": "anthropic", "models": ["scripted"]}


def test_provider_is_asked_at_its_own_address(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = responding(200, b'{"data": [{"id": "one"}, {"id": "two\\u001b[2J"}]}')
    assert run("models", "--provider", "anthropic") == (0, "one\ntwo[2J\n", "")
    (received,) = to_bridge.received
    assert (received.head.method, received.head.url) == ("GET", "https://api.anthropic.com/v1/models")
    assert b"anthropic-version" in received.headers


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 1}', b'{"data": [{}]}'])
def test_invalid_list_is_the_providers_fault(body: bytes, to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = responding(200, body)
    assert refused(run, "models", code=5).endswith("answered with something other than a list of models\n")


@pytest.mark.usefixtures("to_bed")
def test_provider_that_the_bridge_does_not_serve(run: Run) -> None:
    said = refused(run, "models", "--origin", "https://elsewhere.example", code=4)
    assert said == "blindrelay: the bridge answered: this bridge does not serve https://elsewhere.example\n"


@pytest.mark.parametrize("command", [["chat", "Hello"], ["models"], ["doctor"]])
@pytest.mark.parametrize(
    "origin", ["models.example", "ftp://models.example", "https://", "https://[", "http://h:p"]
)
def test_an_origin_that_is_not_a_url_is_wrong_input(command: list[str], origin: str, run: Run) -> None:
    said = refused(run, *command, "--origin", origin)
    assert said.endswith(f"{origin!r} is not a URL such as https://models.example\n")
