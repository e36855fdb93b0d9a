"""What all commands have in common: help, version, completion, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata

import click
import pytest

from blindrelay.client import errors
from blindrelay.client.cli import blindrelay
from blindrelay.client.commands.exit_codes import ExitCode, exit_code
from blindrelay.client.commands.sealed_api import AnsweredError, ProviderError, event_data
from blindrelay.client.errors import BlindRelayError, RelayError
from blindrelay.client.relay_view import KEPT_PASSINGS, RelayView
from blindrelay.v1.envelope_pb2 import Envelope

from .conftest import Run

COMMANDS = {"chat", "config", "doctor", "init", "keys", "models", "proxy", "run"}


def test_the_commands() -> None:
    assert set(blindrelay.commands) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS - {"keys"}))
def test_help_shows_examples_and_exit_codes(command: str, run: Run) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert "Examples:\n" in out
    assert f"    blindrelay {command}" in out
    assert "Exit codes: " in out


def test_the_help_of_all(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "\n    blindrelay doctor  " in out
    for each in ExitCode:
        assert f"\n    {each.value:<4} " in out


def test_the_version(run: Run) -> None:
    assert run("--version") == (0, f"blindrelay {metadata.version('blindrelay')}\n", "")


def test_every_option_says_what_it_does() -> None:
    silent = [
        f"{command.name} {option.name}"
        for command in blindrelay.commands.values()
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


def test_what_is_not_needed_is_not_imported() -> None:
    code = (
        "import sys; from blindrelay.client.cli import main; main(['--help']);"
        "print([each for each in ('httpx', 'httpx2', 'uvicorn', 'starlette') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_may_complete(shell: str) -> None:
    command = [sys.executable, "-m", "blindrelay.client"]
    environment = os.environ | {"_BLINDRELAY_COMPLETE": f"{shell}_source"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "_BLINDRELAY_COMPLETE" in done.stdout
    environment |= {
        "_BLINDRELAY_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "blindrelay ch",
        "COMP_CWORD": "1",
    }
    if shell == "fish":
        environment["COMP_CWORD"] = "ch"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "chat" in done.stdout
    assert "doctor" not in done.stdout


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_an_exit_code_of_its_origin(name: str) -> None:
    kind: type[BlindRelayError] = getattr(errors, name)
    error = kind.__new__(kind)
    expected = {
        "ConfigurationError": ExitCode.WRONG_INPUT,
        "RequestError": ExitCode.WRONG_INPUT,
        "BridgeError": ExitCode.BRIDGE,
        "ProtocolError": ExitCode.BRIDGE,
    }
    assert exit_code(error) is expected.get(name, ExitCode.RELAY)


def test_errors_that_come_as_answers_keep_their_origin() -> None:
    assert exit_code(AnsweredError("", "relay", "token_unknown")) is ExitCode.RELAY
    assert exit_code(AnsweredError("", "bridge", "not_allowed")) is ExitCode.BRIDGE
    assert exit_code(ProviderError("500: no", 500)) is ExitCode.PROVIDER
    assert exit_code(RelayError("")) is ExitCode.RELAY


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b": hello\nevent: x\nid: 1\ndata:a\ndata: b\n\n", ["a\nb"]),
        (b"\n\ndata: a\n\n\n\n", ["a"]),
        ("data: \u2028\x85\u00e4\n\n".encode(), ["\u2028\x85\u00e4"]),
        (b"data: a\n", []),
        (b"", []),
    ],
)
def test_events_are_read_however_they_are_cut(stream: bytes, expected: list[str]) -> None:
    for size in range(1, len(stream) + 2):
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        assert list(event_data(pieces)) == expected


def test_a_view_of_a_long_answer_is_bounded() -> None:
    view = RelayView(Envelope(), 0)
    for _ in range(KEPT_PASSINGS + 10):
        view.note("down", 2)
    view.note("up", 5)
    assert len(view.passings) == KEPT_PASSINGS
    assert (view.passed, view.total("down"), view.total("up")) == (
        KEPT_PASSINGS + 11,
        2 * KEPT_PASSINGS + 20,
        5,
    )
