"""What all commands have in common: help, version, completion, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from blindrelay.client import errors
from blindrelay.client.commands.command_line import COMMANDS, blindrelay, command_named
from blindrelay.client.commands.exit_codes import ExitCode, exit_code
from blindrelay.client.commands.sealed_api import AnsweredError, ProviderError
from blindrelay.client.errors import BlindRelayError, RelayError
from blindrelay.client.relay_view import KEPT_PASSINGS, RelayView
from blindrelay.v1.envelope_pb2 import Envelope

from .conftest import Run

FOR_PEOPLE = {"run"}
"""Its output is the program's own."""


def all_commands() -> list[tuple[str, click.Command]]:
    """Those of groups too."""
    found = [(name, command_named(name)) for name in COMMANDS]
    for name, command in list(found):
        if isinstance(command, click.Group):
            found += [(f"{name} {each}", command.commands[each]) for each in command.commands]
    return found


@pytest.mark.parametrize("name", [name for name, _ in all_commands()])
def test_help_shows_examples_and_exit_codes(name: str, run: Run) -> None:
    code, out, err = run(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert "Examples:\n" in out
    assert f"    blindrelay {name}" in out
    assert "Exit codes:" in out


def test_list_has_the_short_help_of_each_command(run: Run) -> None:
    said = {name: command_named(name).get_short_help_str(300) for name in COMMANDS}
    assert said == COMMANDS
    code, _, err = run()
    assert (code, "Commands:" in err) == (2, True)
    out = run("--help")[1]
    assert all(f"\n  {name}  " in out for name in COMMANDS)
    assert all(f"\n    {each.value:<4} " in out for each in ExitCode)


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_every_command_has_json(name: str, command: click.Command) -> None:
    is_only_a_group = isinstance(command, click.Group) and not command.invoke_without_command
    has_json = any(option.name == "as_json" for option in command.params)
    assert has_json or is_only_a_group or name in FOR_PEOPLE


def test_short_helps_are_not_cut(run: Run) -> None:
    for group in ("keys", "config"):
        assert "..." not in run(group, "--help")[1].partition("\nCommands:\n")[2]


def test_every_option_has_a_help() -> None:
    silent = [
        f"{name} {option.name}"
        for name, command in [("", blindrelay), *all_commands()]
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []


def test_what_is_not_needed_is_not_imported() -> None:
    heavy = {"grpc", "google.protobuf", "nacl", "cryptography", "httpx", "httpx2", "uvicorn", "asyncio"}
    code = f"""
import sys; from blindrelay.client.cli import main; main(['--help'])
print([each for each in sys.modules if each in {heavy}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completes(shell: str) -> None:
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


def test_error_responses_keep_their_origin() -> None:
    assert exit_code(AnsweredError("", "relay", "token_unknown")) is ExitCode.RELAY
    assert exit_code(AnsweredError("", "bridge", "not_allowed")) is ExitCode.BRIDGE
    assert exit_code(ProviderError("500: no", 500)) is ExitCode.PROVIDER
    assert exit_code(RelayError("")) is ExitCode.RELAY


def test_relay_view_is_bounded() -> None:
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
