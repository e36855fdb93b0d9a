"""`blindrelay chat`: live responses, conversations, the relay's view, and who is at fault."""

from __future__ import annotations

import io
import json
import signal
import threading
from pathlib import Path

import pytest

from blindrelay.testbed import Direction, Testbed
from blindrelay.trust import IdentityKey, format_identity
from blindrelay.v1.inner_pb2 import ErrorCode, Header, ResponseHead
from tests.patience import wait_for

from ..scripted_bridge import TAIL, Response, ScriptedBridge, answering, failing, never, responding
from .conftest import EVENTS, Run, Terminal, command, refused, streaming, succeeded, terminal

PARIS = "The capital of France is Paris."
QUESTION = "What is the capital of France?"
DONE = b"data: [DONE]\n\n"


def said(text: str) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n"


YES = streaming(said("yes"), DONE)
HALF = answering(head=EVENTS, body=said("half"))


@pytest.mark.usefixtures("to_bed")
@pytest.mark.parametrize("arguments", [["--provider", "anthropic", "--model", "any", QUESTION], ["-"], []])
def test_question_is_answered(arguments: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an argument, or comes from stdin."""
    monkeypatch.setattr("sys.stdin", io.StringIO(QUESTION))
    assert run("chat", *arguments) == (0, PARIS + "\n", "")


def test_text_is_utf_8_and_only_line_feeds_end_lines(to_bridge: ScriptedBridge, run: Run) -> None:
    event = '{"choices": [{"delta": {"content": "Zürich\u2028\x85Genève"}}]}'
    body = f"data: {event}\n\n".encode() + DONE
    to_bridge.answer = responding(200, body, content_type="text/event-stream; charset=iso-8859-1")
    assert run("chat", "Hello") == (0, "Zürich\u2028\x85Genève\n", "")


def test_response_is_printed_as_it_comes(to_bridge: ScriptedBridge) -> None:
    """After a spinner, if nothing comes for a second."""
    begin, go_on = threading.Event(), threading.Event()
    first = {"head": EVENTS, "body": said("first")}
    to_bridge.answer = answering(begin, first, go_on, body=said(" last") + DONE, tail=TAIL)
    with terminal("chat", "Hello") as person:
        person.wait_for("waiting for the response …")
        begin.set()
        person.wait_for("first")
        go_on.set()
        assert person.end() == 0
    assert person.left.strip() == "first last"


def test_request_has_model_and_messages(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = YES
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


@pytest.mark.parametrize("option", [True, False])
def test_all_models_of_the_bridge_are_at_one_address(
    option: bool, to_bridge: ScriptedBridge, run: Run
) -> None:
    """By --provider, or by the connection. The bridge says who answered."""
    fields = {b"blindrelay-served-by": b"azure/gpt4o-eu", b"content-type": b"text/event-stream"}
    headers = [Header(name=name, value=value) for name, value in fields.items()]
    to_bridge.answer = answering(
        head=ResponseHead(status=200, headers=headers), body=said("yes") + DONE, tail=TAIL
    )
    given = ["--provider", "models"] if option else ["--relay", to_bridge.connection + "&provider=models"]
    code, out, err = run("chat", *given, "--model", "gpt-4o", "--json", "Well?")
    assert (code, err) == (0, "")
    (request,) = to_bridge.received
    assert request.head.url == "https://models.blindrelay.internal/v1/chat/completions"
    assert json.loads(request.body)["model"] == "gpt-4o"
    assert json.loads(out)["served_by"] == "azure/gpt4o-eu"
    assert "`blindrelay models --provider models` lists them" in refused(run, "chat", *given, "Well?")


def test_keys_of_ones_own_go_to_all_models(bridge: ScriptedBridge, run: Run, tmp_path: Path) -> None:
    bridge.answer = YES
    relay = bridge.connection + "&credentials=brought&provider=models"
    arguments = ["chat", "--model", "gpt-4o", "Well?", "--relay"]
    assert "add keys=FILE" in refused(run, *arguments, relay)
    file = tmp_path / "keys"
    file.write_text("openai sk-one\n")
    file.chmod(0o600)
    assert run(*arguments, f"{relay}&keys={file}")[0] == 0
    (request,) = bridge.received
    assert request.headers[b"blindrelay-credential"] == b"openai sk-one"


def test_connection_for_an_api_that_chat_cannot_speak(bridge: ScriptedBridge, run: Run) -> None:
    said = refused(run, "chat", "Well?", "--relay", bridge.connection + "&provider=mistral")
    assert "provider=mistral: give --provider, one of anthropic, models, openai" in said


def test_own_key_is_sent_with_brought_credentials(
    bridge: ScriptedBridge, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge.answer = YES
    arguments = ["chat", "--relay", bridge.connection + "&credentials=brought", "Well?"]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "set OPENAI_API_KEY" in refused(run, *arguments)
    assert bridge.received == []
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert run(*arguments)[0] == 0
    assert bridge.received[0].headers[b"authorization"] == b"Bearer sk-mine"


def test_relay_view_is_what_the_relay_saw(to_bed: Testbed, run: Run) -> None:
    before = len(to_bed.forwarded)
    out = succeeded(run, "chat", "--json", "--show-relay-view", QUESTION)
    answer = json.loads(out)
    assert (answer["provider"], answer["model"], answer["answer"]) == ("openai", "gpt-5.5", PARIS)
    (view,) = answer["relay_view"]
    since = to_bed.forwarded[before:]
    (opened,) = [each for each in since if each.direction is Direction.OPEN]
    passed = [each for each in since if each.exchange == opened.exchange]  # others may still have had cells
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
    done = {"head": EVENTS, "body": said("yes") + DONE}
    to_bridge.answer = answering(done, 0.3, body=b": the end\n\n", tail=TAIL)
    assert run("chat", "Well?") == (0, "yes\n", "")
    assert to_bridge.cancelled == []


STOPPED = {
    "openai": b'data: {"choices": [{"delta": {}, "finish_reason": "%s"}]}\n\ndata: [DONE]\n\n',
    "anthropic": b'data: {"type": "message_delta", "delta": {"stop_reason": "%s"}}\n\n'
    b'data: {"type": "message_stop"}\n\n',
}


@pytest.mark.parametrize(
    ("provider", "reason", "code"),
    [("openai", "stop", 0), ("openai", "length", 5), ("anthropic", "max_tokens", 5)],
)
def test_incomplete_response_is_reported(
    provider: str, reason: str, code: int, to_bridge: ScriptedBridge, run: Run
) -> None:
    to_bridge.answer = streaming(STOPPED[provider] % reason.encode())
    got, out, err = run("chat", "--provider", provider, "--model", "any", "Well?", "--json")
    assert (got, json.loads(out)["complete"]) == (code, code == 0)
    message = f"blindrelay: the provider answered only in part: it stopped early ({reason})\n"
    assert err == (message if code else "")


def test_error_after_half_a_response_has_its_own_line(to_bridge: ScriptedBridge) -> None:
    to_bridge.answer = HALF
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
    to_bridge.answer = never
    if at_terminal:
        with terminal("chat", "Well?") as person:
            wait_for(lambda: len(to_bridge.received) == 1)
            person.type("\x03")
            assert person.end() == 130
        assert person.left.replace("^C", "").strip("\r\n") == ""
    else:
        process = command("chat", "Well?")
        wait_for(lambda: len(to_bridge.received) == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.strip()) == (130, b"", b"")
    wait_for(lambda: to_bridge.cancelled == [True])


SLOW_DOWN = b'{"error": {"message": "slow down,\\nplease \\u001b[2J"}}'
IN_STREAM = b'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (responding(429, SLOW_DOWN), 5, "the provider answered 429: slow down, please [2J"),
        (streaming(said("half")), 5, "the provider answered with a stream that has no end"),
        (streaming(IN_STREAM), 5, "the provider answered with an error: Overloaded"),
        (streaming(b'data: {"choices": ["x"]}\n\n'), 5, "the provider answered with an event that"),
        (failing(ErrorCode.ERROR_CODE_NOT_ALLOWED, "it is not on the list"), 4, "the bridge answered: it is"),
        (failing(ErrorCode.ERROR_CODE_PROVIDER_UNREACHABLE, "no way"), 4, "the bridge answered: no way"),
        (responding(200, b"<html>"), 5, "the provider answered with something other than an event stream"),
        (HALF, 3, "the relay ended the exchange before the response's end"),
    ],
)
def test_exit_code_says_who_is_at_fault(
    answer: Response, code: int, message: str, to_bridge: ScriptedBridge, run: Run
) -> None:
    to_bridge.answer = answer
    got, _, err = run("chat", "Well?")
    assert (got, err.count("\n")) == (code, 1)
    assert err.startswith(f"blindrelay: {message}")


def test_wrong_token_pin_or_port_sends_nothing(bridge: ScriptedBridge, run: Run) -> None:
    pins = [format_identity(key.public_key) for key in (bridge.identity, IdentityKey.generate())]
    for right, wrong, message in [
        ("brt_test", "brt_other", "does not know this access token"),
        (*pins, "no key can be trusted, so nothing was sent"),
        (f":{bridge.port}?", ":1?", "no connection to the relay at 127.0.0.1:1"),
    ]:
        relay = bridge.connection.replace(right, wrong)
        assert message in refused(run, "chat", "--relay", relay, "Well?", code=3)
    assert bridge.received == []


@pytest.mark.parametrize("arguments", [[], ["--", "caf\udce9"]])
def test_prompt_must_be_text(arguments: list[str], run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), "utf-8"))
    assert "the prompt is not utf-8 text" in refused(run, "chat", *arguments)


def test_json_is_for_one_question() -> None:
    with terminal("chat", "--json", BLINDRELAY_CONNECTION="") as person:
        assert person.end() == 2
    assert "--json is for one question" in person.shown


def say(person: Terminal, text: str, answer: str) -> None:
    """Types at the prompt and waits for the answer and the next prompt."""
    person.type(text + "\n")
    person.wait_for(answer)
    person.wait_for("> ")


def test_conversation_is_remembered_and_survives_interruptions_and_errors(to_bridge: ScriptedBridge) -> None:
    with terminal("chat") as person:
        person.wait_for("> ")
        to_bridge.answer = answering({"head": EVENTS, "body": said("Once upon")}, threading.Event())
        person.type("One?\n")
        person.wait_for("Once upon")
        person.type("\x03")
        person.wait_for("The response was stopped")
        person.wait_for("> ")
        to_bridge.answer = YES
        say(person, "Two?", "yes")
        to_bridge.answer = failing(ErrorCode.ERROR_CODE_OVERLOADED, "there is no room")
        say(person, "Three?", "there is no room")
        to_bridge.answer = YES
        say(person, "Four?", "yes")
        assert person.interrupt() == 130
    messages = json.loads(to_bridge.received[-1].body)["messages"]
    assert [each["content"] for each in messages] == ["One?", "Once upon", "Two?", "yes", "Four?"]


def test_end_of_input_ends_the_conversation(to_bridge: ScriptedBridge) -> None:
    with terminal("chat") as person:
        person.wait_for("> ")
        person.type("\x04")
        assert person.end() == 0
    assert to_bridge.received == []
