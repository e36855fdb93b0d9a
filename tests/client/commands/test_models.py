"""`blindrelay models`."""

from __future__ import annotations

import json

import pytest

from ..conftest import Received, Responder, ScriptedBridge
from .conftest import Run


@pytest.mark.usefixtures("to_bed")
def test_models_are_listed(run: Run) -> None:
    assert run("models") == (0, "scripted\n", "")
    code, out, err = run("models", "--provider", "anthropic", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"provider": "anthropic", "models": ["scripted"]}


def test_provider_is_asked_at_its_own_address(to_bridge: ScriptedBridge, run: Run) -> None:
    async def answer(_: Received, respond: Responder) -> None:
        await respond.whole(b'{"data": [{"id": "one"}, {"id": "two\\u001b[2J"}]}')

    to_bridge.answer = answer
    assert run("models", "--provider", "anthropic") == (0, "one\ntwo[2J\n", "")
    (received,) = to_bridge.received
    assert (received.head.method, received.head.url) == ("GET", "https://api.anthropic.com/v1/models")
    assert b"anthropic-version" in received.headers


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 1}', b'{"data": [{}]}'])
def test_invalid_list_is_the_providers_fault(body: bytes, to_bridge: ScriptedBridge, run: Run) -> None:
    async def answer(_: Received, respond: Responder) -> None:
        await respond.whole(body)

    to_bridge.answer = answer
    code, out, err = run("models")
    assert (code, out) == (5, "")
    assert err == "blindrelay: the provider answered with something other than a list of models\n"


@pytest.mark.usefixtures("to_bed")
def test_provider_that_the_bridge_does_not_serve(run: Run) -> None:
    code, out, err = run("models", "--origin", "https://elsewhere.example")
    assert (code, out) == (4, "")
    assert err == "blindrelay: the bridge answered: this bridge does not serve https://elsewhere.example\n"


@pytest.mark.parametrize("command", ["chat", "models", "doctor"])
@pytest.mark.parametrize(
    "origin", ["models.example", "ftp://models.example", "https://", "https://[", "http://h:p"]
)
def test_an_origin_that_is_not_a_url_is_wrong_input(command: str, origin: str, run: Run) -> None:
    code, out, err = run(command, "--origin", origin, *(["Hello"] if command == "chat" else []))
    assert (code, out) == (2, "")
    assert err.endswith(f"{origin!r} is not a URL such as https://models.example\n")
    assert err.count("\n") == 1
