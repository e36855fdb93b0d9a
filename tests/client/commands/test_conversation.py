"""`blindrelay chat` as a conversation at a terminal."""

from __future__ import annotations

import asyncio
import json

from blindrelay.v1.inner_pb2 import ErrorCode

from ..conftest import Received, Responder, ScriptedBridge, head
from .conftest import Terminal, failing, streaming, terminal
from .test_chat import DONE, said


def say(person: Terminal, text: str, answer: str) -> None:
    """Types at the prompt and waits for the answer and the next prompt."""
    person.type(text + "\n")
    person.wait_for(answer)
    person.wait_for("> ")


def asked(bridge: ScriptedBridge, number: int) -> list[str]:
    """The messages of a request, in order."""
    return [each["content"] for each in json.loads(bridge.received[number].body)["messages"]]


def test_conversation_is_remembered(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = streaming(said("A response."), DONE)
    with terminal("chat") as person:
        person.wait_for("> ")
        say(person, "One?", "A response.")
        say(person, "Two?", "A response.")
        person.type("\x04")
        assert person.end() == 0
    assert asked(to_bridge, 1) == ["One?", "A response.", "Two?"]


def test_ctrl_c_stops_the_response_and_then_the_conversation(to_bridge: ScriptedBridge) -> None:
    async def endless(_: Received, respond: Responder) -> None:
        await respond.send(head=head(200, b"text/event-stream"))
        await respond.send(body=said("Once upon"))
        await asyncio.Event().wait()

    to_bridge.answer = endless
    with terminal("chat") as person:
        person.wait_for("> ")
        person.type("One?\n")
        person.wait_for("Once upon")
        person.type("\x03")
        person.wait_for("The response was stopped")
        person.wait_for("> ")
        to_bridge.answer = streaming(said("A response."), DONE)
        say(person, "Two?", "A response.")
        assert person.interrupt() == 130
    assert asked(to_bridge, 1) == ["One?", "Once upon", "Two?"]


def test_error_does_not_end_the_conversation(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = failing(ErrorCode.ERROR_CODE_OVERLOADED, "there is no room")
    with terminal("chat") as person:
        person.wait_for("> ")
        say(person, "One?", "there is no room")
        to_bridge.answer = streaming(said("A response."), DONE)
        say(person, "Again?", "A response.")
        person.type("\x04")
        assert person.end() == 0
    assert asked(to_bridge, 1) == ["Again?"]
