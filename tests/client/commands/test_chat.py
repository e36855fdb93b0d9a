"""`blindrelay chat`: live responses, conversations, the relay's view, and who is at fault."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import threading

import pytest

from blindrelay.testbed import Direction, Testbed
from blindrelay.trust import IdentityKey, format_identity
from blindrelay.v1.inner_pb2 import ErrorCode

from ..conftest import TAIL, Received, Responder, ScriptedBridge, head
from .conftest import Run, command, failing, streaming, terminal

PARIS = "The capital of France is Paris."
QUESTION = "What is the capital of France?"


def said(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@pytest.mark.usefixtures("to_bed")
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_question_is_answered(provider: str, run: Run) -> None:
    assert run("chat", "--provider", provider, "--model", "any", QUESTION) == (0, PARIS + "\n", "")


def test_text_is_utf_8_and_only_line_feeds_end_lines(to_bridge: ScriptedBridge, run: Run) -> None:
    async def answer(_: Received, respond: Responder) -> None:
        await respond.send(head=head(200, b"text/event-stream; charset=iso-8859-1"))
        event = {"choices": [{"delta": {"content": "Zürich\u2028\x85Genève"}}]}
        await respond.send(body=b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n" + DONE)
        await respond.send(tail=TAIL)

    to_bridge.answer = answer
    assert run("chat", "Hello") == (0, "Zürich\u2028\x85Genève\n", "")


@pytest.mark.usefixtures("to_bed")
@pytest.mark.parametrize("arguments", [["-"], []])
def test_question_is_read_from_stdin(arguments: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION))
    assert run("chat", *arguments) == (0, PARIS + "\n", "")


def test_response_is_printed_as_it_comes(to_bridge: ScriptedBridge) -> None:
    """After a spinner, if nothing comes for a second."""
    begin, go_on = threading.Event(), threading.Event()

    async def answer(_: Received, respond: Responder) -> None:
        await to_bridge.stall(begin)
        await respond.send(head=head(200, b"text/event-stream"))
        await respond.send(body=said("first"))
        await to_bridge.stall(go_on)
        await respond.send(body=said(" last") + DONE)
        await respond.send(tail=TAIL)

    to_bridge.answer = answer
    with terminal("chat", "Hello") as person:
        person.wait_for("waiting for the response …")
        begin.set()
        person.wait_for("first")
        go_on.set()
        assert person.end() == 0
    assert person.left.strip() == "first last"


def test_request_has_model_and_messages(to_bridge: ScriptedBridge, run: Run) -> None:
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


def test_own_key_is_sent_with_brought_credentials(
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


def test_relay_view_is_what_the_relay_saw(to_bed: Testbed, run: Run) -> None:
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
        viewed = [each["size"] for each in view["messages"] if each["direction"] == direction]
        assert viewed == sizes[: len(viewed)], "the rest of a shaped response passes later"


def test_relay_view_is_printed_and_shortened(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = streaming(*[said("secret")] * 50, DONE)
    code, out, err = run("chat", "--show-relay-view", "Go on")
    assert (code, out) == (0, "secret" * 50 + "\n")
    assert "What the relay could see" in err
    assert err.count(" to client ") < 25
    assert " more\n" in err
    assert "secret" not in err


def test_response_is_read_to_its_end(to_bridge: ScriptedBridge, run: Run) -> None:
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
    [("openai", "stop", True), ("openai", "length", False), ("anthropic", "max_tokens", False)],
)
def test_incomplete_response_is_reported(
    provider: str, reason: str, is_whole: bool, to_bridge: ScriptedBridge, run: Run
) -> None:
    to_bridge.answer = streaming(stopped(provider, reason))
    arguments = ["chat", "--provider", provider, "--model", "any", "Well?", "--json"]
    code, out, err = run(*arguments)
    assert (code, json.loads(out)["complete"]) == (0 if is_whole else 5, is_whole)
    message = f"blindrelay: the provider answered only in part: it stopped early ({reason})\n"
    assert err == ("" if is_whole else message)


def test_prompt_that_is_not_text_is_rejected(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), "utf-8"))
    for arguments in (["chat"], ["chat", "--", "caf\udce9"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("blindrelay: the prompt is not utf-8 text")


def test_error_after_half_a_response_has_its_own_line(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = cut
    with terminal("chat", "Well?") as person:
        assert person.end() == 3
    assert person.shown.startswith("half\r\nblindrelay: the relay ended the exchange")


def test_response_cannot_steer_the_terminal(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = streaming(said("red \x1b[31m, title \x9d0;x\x07, line\u2028end"), DONE)
    with terminal("chat", "Well?") as person:
        assert person.end() == 0
    assert person.shown == "red [31m, title 0;x, line\u2028end\r\n"
    assert run("chat", "Well?")[1] == "red \x1b[31m, title \x9d0;x\x07, line\u2028end\n"


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


async def no_events(received: Received, respond: Responder) -> None:
    await respond.whole(b"<html>")


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
        (no_events, 5, "the provider answered with something other than an event stream"),
        (cut, 3, "the relay ended the exchange before the response's end"),
        (altered, 3, "the response did not open"),
    ],
)
def test_exit_code_says_who_is_at_fault(
    answer: object, code: int, message: str, to_bridge: ScriptedBridge, run: Run
) -> None:
    to_bridge.answer = answer  # type: ignore[assignment]
    got, _, err = run("chat", "Well?")
    assert (got, err.count("\n")) == (code, 1)
    assert err.startswith(f"blindrelay: {message}")


def test_wrong_token_pin_or_port_sends_nothing(bridge: ScriptedBridge, run: Run) -> None:
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
def test_wrong_input_is_rejected(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_json_is_for_one_question() -> None:
    with terminal("chat", "--json", BLINDRELAY_CONNECTION="") as person:
        assert person.end() == 2
    assert "--json is for one question" in person.shown
