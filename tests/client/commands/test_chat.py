"""`blindrelay chat`: live responses, conversations, the relay's view, and who is at fault."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from blindrelay.testbed import Direction, Testbed
from blindrelay.trust import IdentityKey, format_identity
from blindrelay.v1.inner_pb2 import ErrorCode
from blindrelay.v1.outer_status import OuterStatus

from ..conftest import TAIL, Received, Responder, ScriptedBridge, head
from .conftest import Run, command, failing, streaming, terminal

PARIS = "The capital of France is Paris."
QUESTION = "What is the capital of France?"


def said(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@pytest.mark.usefixtures("to_bed")
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_question_is_answered(provider: str, run: Run) -> None:
    assert run("chat", "--provider", provider, "--model", "any", QUESTION) == (0, PARIS + "\n", "")


@pytest.mark.usefixtures("to_bed")
@pytest.mark.parametrize("arguments", [["-"], []])
def test_the_question_may_come_from_stdin(
    arguments: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION))
    assert run("chat", *arguments) == (0, PARIS + "\n", "")


def test_each_piece_is_printed_as_it_comes(to_bridge: ScriptedBridge) -> None:
    gate = threading.Event()

    async def answer(_: Received, respond: Responder) -> None:
        await respond.send(head=head(200, b"text/event-stream"))
        await respond.send(body=said("first"))
        await to_bridge.stall(gate)
        await respond.send(body=said(" last") + DONE)
        await respond.send(tail=TAIL)

    to_bridge.answer = answer
    process = command("chat", "Hello")
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 100) == b"first"
    gate.set()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b" last\n", b"")


def test_what_is_asked(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = streaming(said("yes"), DONE)
    assert run("chat", "--system", "Be brief.", "Well?")[0] == 0
    assert run("chat", "--origin", "https://models.example/", "--model", "other", "Well?")[0] == 0
    first, second = to_bridge.received
    assert (first.head.method, first.head.url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert json.loads(first.body) == {
        "model": "gpt-5.5",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Well?"}],
        "stream": True,
    }
    assert second.head.url == "https://models.example/v1/chat/completions"
    assert json.loads(second.body)["model"] == "other"


def test_a_key_of_ones_own_is_brought(
    bridge: ScriptedBridge, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.answer = streaming(said("yes"), DONE)
    arguments = ["chat", "--relay", bridge.connection + "&credentials=brought", "Well?"]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, _, err = run(*arguments)
    assert (code, bridge.received) == (2, [])
    assert "set OPENAI_API_KEY" in err
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert run(*arguments)[0] == 0
    assert bridge.received[0].headers[b"authorization"] == b"Bearer sk-mine"


def test_the_relays_view_is_what_the_relay_had(to_bed: Testbed, run: Run) -> None:
    before = len(to_bed.forwarded)
    code, out, err = run("chat", "--json", "--show-relay-view", QUESTION)
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert (answer["provider"], answer["model"], answer["answer"]) == ("openai", "gpt-5.5", PARIS)
    (view,) = answer["relay_view"]
    opened, *passed = to_bed.forwarded[before:]
    assert opened.metadata["blindrelay-envelope-bin"].count(view["envelope"]["exchange_id"]) == 1
    assert len(opened.metadata["blindrelay-envelope-bin"]) == 2 * view["envelope"]["size"]
    for direction in (Direction.UP, Direction.DOWN):
        sizes = [each.size for each in passed if each.direction is direction]
        assert [each["size"] for each in view["messages"] if each["direction"] == direction] == sizes
    assert len(passed) == len(view["messages"])


@pytest.mark.usefixtures("to_bed")
def test_the_relays_view_stands_beside_the_answer(run: Run) -> None:
    code, out, err = run("chat", "--show-relay-view", QUESTION)
    assert (code, out) == (0, PARIS + "\n")
    assert "What the relay held of it" in err
    assert "to bridge    5,270 bytes" in err
    assert "Paris" not in err


def test_a_long_view_is_shortened(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = streaming(*[said("x")] * 50, DONE)
    _, _, err = run("chat", "--show-relay-view", "Go on")
    assert err.count(" to client ") < 25
    assert " more\n" in err


def test_without_being_asked_nothing_is_noted(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = streaming(said("yes"), DONE)
    _, out, _ = run("chat", "--json", "Well?")
    assert set(json.loads(out)) == {"provider", "model", "answer", "complete"}


def test_a_conversation_remembers(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = streaming(said("A response."), DONE)
    with terminal("chat") as person:
        person.wait_for("> ")
        person.type("One?\n")
        person.wait_for("A response.")
        person.wait_for("> ")
        person.type("Two?\n")
        person.wait_for("A response.")
        person.wait_for("> ")
        person.type("\x04")
        assert person.end() == 0
    messages = json.loads(to_bridge.received[1].body)["messages"]
    assert [each["content"] for each in messages] == ["One?", "A response.", "Two?"]


def test_ctrl_c_stops_an_answer_and_then_the_conversation(to_bridge: ScriptedBridge) -> None:
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
        person.type("Two?\n")
        person.wait_for("A response.")
        person.wait_for("> ")
        assert person.interrupt() == 130
    messages = json.loads(to_bridge.received[1].body)["messages"]
    assert [each["content"] for each in messages] == ["One?", "Once upon", "Two?"]


def test_an_answer_is_read_to_its_end(to_bridge: ScriptedBridge, run: Run) -> None:
    """The relay counts one that is left at [DONE] as cancelled."""

    async def slow_to_end(_: Received, respond: Responder) -> None:
        await respond.send(head=head(200, b"text/event-stream"))
        await respond.send(body=said("yes") + DONE)
        await asyncio.sleep(0.3)
        await respond.send(body=b": the end\n\n")
        await respond.send(tail=TAIL)

    to_bridge.answer = slow_to_end
    assert run("chat", "Well?") == (0, "yes\n", "")
    assert to_bridge.cancelled == []


def stopped(provider: str, reason: str) -> bytes:
    if provider == "openai":
        return b'data: {"choices": [{"delta": {}, "finish_reason": "%s"}]}\n\n' % reason.encode() + DONE
    delta = b'data: {"type": "message_delta", "delta": {"stop_reason": "%s"}}\n\n' % reason.encode()
    return delta + b'data: {"type": "message_stop"}\n\n'


@pytest.mark.parametrize(
    ("provider", "reason", "is_whole"),
    [
        ("openai", "stop", True),
        ("openai", "length", False),
        ("openai", "content_filter", False),
        ("anthropic", "end_turn", True),
        ("anthropic", "max_tokens", False),
    ],
)
def test_an_answer_that_the_provider_cut_says_so(
    provider: str, reason: str, is_whole: bool, to_bridge: ScriptedBridge, run: Run
) -> None:
    to_bridge.answer = streaming(stopped(provider, reason))
    arguments = ["chat", "--provider", provider, "--model", "any", "Well?"]
    error = f"blindrelay: the provider answered only in part: it stopped early ({reason})\n" * (not is_whole)
    assert run(*arguments) == (0 if is_whole else 5, "\n", error)
    code, out, err = run(*arguments, "--json")
    assert (code, json.loads(out)["complete"], err) == (0 if is_whole else 5, is_whole, error)


@pytest.mark.parametrize("prompt", [b"caf\xe9", b"\xff\xfeH\x00i\x00"])
def test_a_prompt_that_is_not_text_is_refused(prompt: bytes, to_bridge: ScriptedBridge) -> None:
    for arguments, stdin in (["chat"], prompt), (["chat", "--", os.fsdecode(prompt)], b""):
        if b"\0" in prompt and not stdin:
            continue
        done = subprocess.run(
            [sys.executable, "-m", "blindrelay.client", *arguments],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert done.stderr.startswith(b"blindrelay: the prompt is not utf-8 text")
    assert to_bridge.received == []


def test_an_error_does_not_end_a_conversation(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = failing(ErrorCode.ERROR_CODE_OVERLOADED, "there is no room")
    with terminal("chat") as person:
        person.wait_for("> ")
        person.type("One?\n")
        person.wait_for("there is no room")
        person.wait_for("> ")
        to_bridge.answer = streaming(said("A response."), DONE)
        person.type("Again?\n")
        person.wait_for("A response.")
        person.wait_for("> ")
        person.type("\x04")
        assert person.end() == 0
    assert len(json.loads(to_bridge.received[1].body)["messages"]) == 1


def test_what_is_said_of_half_an_answer_stands_alone(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = cut
    with terminal("chat", "Well?") as person:
        assert person.end() == 3
    assert person.shown.startswith("half\r\nblindrelay: the relay ended the exchange")


def test_an_answer_does_not_steer_the_terminal(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = streaming(said("red \x1b[31m, title \x9d0;x\x07, line\u2028end"), DONE)
    with terminal("chat", "Well?") as person:
        assert person.end() == 0
    assert person.shown == "red [31m, title 0;x, line\u2028end\r\n"
    assert run("chat", "Well?")[1] == "red \x1b[31m, title \x9d0;x\x07, line\u2028end\n"


def test_nothing_seems_to_hang(to_bridge: ScriptedBridge) -> None:
    gate = threading.Event()

    async def answer(received: Received, respond: Responder) -> None:
        await to_bridge.stall(gate)
        await streaming(said("Here."), DONE)(received, respond)

    to_bridge.answer = answer
    with terminal("chat", "Well?") as person:
        person.wait_for("waiting for the response …")
        gate.set()
        person.wait_for("Here.")
        assert person.end() == 0


@pytest.mark.parametrize("at_terminal", [True, False])
def test_ctrl_c_is_quiet_and_ends_the_call(to_bridge: ScriptedBridge, at_terminal: bool) -> None:
    asked, ended = threading.Event(), threading.Event()

    async def answer(_: Received, respond: Responder) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    to_bridge.answer = answer
    if at_terminal:
        with terminal("chat", "Well?") as person:
            assert asked.wait(30)
            person.type("\x03")
            assert person.end() == 130
        assert person.left.replace("^C", "").strip("\r\n") == ""
    else:
        process = command("chat", "Well?")
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.strip()) == (130, b"", b"")
    assert ended.wait(30)


async def refused(received: Received, respond: Responder) -> None:
    body = json.dumps({"error": {"message": "slow down,\nplease \x1b[2J"}}).encode()
    await respond.whole(body, 429)


async def cut(received: Received, respond: Responder) -> None:
    await respond.send(head=head(200, b"text/event-stream"))
    await respond.send(body=said("half"))


async def altered(received: Received, respond: Responder) -> None:
    (record,) = respond.exchange.response.seal(head=head())
    await respond.raw(record[:-1] + bytes([record[-1] ^ 1]))


IN_STREAM = b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refused, 5, "the provider answered 429: slow down, please [2J"),
        (streaming(said("half")), 5, "the provider answered with a stream that has no end"),
        (streaming(IN_STREAM), 5, "the provider answered with an error: Overloaded"),
        (streaming(b'data: {"choices": ["x"]}\n\n'), 5, "the provider answered with an event that"),
        (failing(ErrorCode.ERROR_CODE_NOT_ALLOWED, "it is not on the list"), 4, "the bridge answered: it is"),
        (failing(ErrorCode.ERROR_CODE_PROVIDER_UNREACHABLE, "no way"), 4, "the bridge answered: no way"),
        (cut, 3, "the relay ended the exchange before the response's end"),
        (altered, 3, "the response did not open"),
    ],
)
def test_who_is_at_fault(
    answer: object, code: int, message: str, to_bridge: ScriptedBridge, run: Run
) -> None:
    to_bridge.answer = answer  # type: ignore[assignment]
    got, _, err = run("chat", "Well?")
    assert (got, err.count("\n")) == (code, 1)
    assert err.startswith(f"blindrelay: {message}")


@pytest.mark.parametrize("status", [OuterStatus.OVERLOADED, OuterStatus.BRIDGE_UNAVAILABLE])
def test_what_the_relay_says_is_the_relays(status: OuterStatus, to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.refuse = status
    code, out, err = run("chat", "Well?")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert err.startswith("blindrelay: the relay")


def test_a_wrong_token_pin_or_port_sends_nothing(bridge: ScriptedBridge, run: Run) -> None:
    stranger = format_identity(IdentityKey.generate().public_key)
    pinned = format_identity(bridge.identity.public_key)
    for wrong, message in [
        (bridge.connection.replace("brt_test", "brt_other"), "does not know this access token"),
        (bridge.connection.replace(pinned, stranger), "no key can be trusted, so nothing was sent"),
        (bridge.connection.replace(f":{bridge.port}?", ":1?"), "no connection to the relay at 127.0.0.1:1"),
    ]:
        code, out, err = run("chat", "--relay", wrong, "Well?")
        assert (code, out, err.count("\n")) == (3, "", 1)
        assert message in err
    assert bridge.received == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chat", " "], "the prompt is empty"),
        (["chat", "--provider", "anthropic", "Well?"], "blindrelay models --provider anthropic"),
        (["chat", "--provider", "nobody", "Well?"], "'nobody' is not one of"),
        (["chat", "--relay", "https://relay", "Well?"], "has the form"),
    ],
)
def test_wrong_input_is_2(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_json_is_for_one_question() -> None:
    with terminal("chat", "--json", BLINDRELAY_CONNECTION="") as person:
        assert person.end() == 2
    assert "--json is for one question" in person.shown
