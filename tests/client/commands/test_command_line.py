"""What all commands have in common: help, version, completion, exit codes."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from blindrelay.client import errors
from blindrelay.client.commands.command_line import COMMANDS, command_named
from blindrelay.client.commands.exit_codes import ExitCode, exit_code
from blindrelay.client.commands.sealed_api import AnsweredError, ProviderError
from blindrelay.client.errors import BlindRelayError
from blindrelay.client.relay_view import KEPT_PASSINGS, RelayView
from blindrelay.v1.envelope_pb2 import Envelope

from .conftest import Run, command


def all_commands() -> list[tuple[str, click.Command]]:
    """Those of groups too."""
    found = [(name, command_named(name)) for name in COMMANDS]
    for name, group in list(found):
        if isinstance(group, click.Group):
            found += [(f"{name} {each}", group.commands[each]) for each in group.commands]
    return found


@pytest.mark.parametrize(("name", "command"), all_commands())
def test_help_is_complete(name: str, command: click.Command, run: Run) -> None:
    """Every command has examples, exit codes, a help for each option, and --json."""
    code, out, err = run(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert "Examples:\n" in out
    assert f"    blindrelay {name}" in out
    assert "Exit codes:" in out
    assert "..." not in out.partition("\nCommands:\n")[2]
    assert [each.name for each in command.params if isinstance(each, click.Option) and not each.help] == []
    is_only_a_group = isinstance(command, click.Group) and not command.invoke_without_command
    prints_for_its_program = name == "run"
    assert "--json" in out or is_only_a_group or prints_for_its_program


def test_list_has_the_short_help_of_each_command(run: Run) -> None:
    said = {name: command_named(name).get_short_help_str(300) for name in COMMANDS}
    assert said == COMMANDS
    code, _, err = run()
    assert (code, "Commands:" in err) == (2, True)
    out = run("--help")[1]
    assert all(f"\n  {name}  " in out for name in COMMANDS)
    assert all(f"\n    {each.value:<4} " in out for each in ExitCode)


def test_what_is_not_needed_is_not_imported() -> None:
    heavy = {"grpc", "google.protobuf", "nacl", "cryptography", "httpx", "httpx2", "uvicorn", "asyncio"}
    code = f"""
import sys; from blindrelay.client.cli import main; main(['--help'])
print([each for each in sys.modules if each in {heavy}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")


def test_shell_completes() -> None:
    words = {"COMP_WORDS": "blindrelay ch", "COMP_CWORD": "1", "_BLINDRELAY_COMPLETE": "bash_complete"}
    process = command(environment=words)
    assert process.communicate(timeout=60)[0] == b"plain,chat\n"


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


def test_relay_view_is_bounded() -> None:
    view = RelayView(Envelope(), 0)
    for _ in range(KEPT_PASSINGS + 10):
        view.note("down", 2)
    view.note("up", 5)
    assert (len(view.passings), view.passed) == (KEPT_PASSINGS, KEPT_PASSINGS + 11)
    assert (view.total("down"), view.total("up")) == (2 * KEPT_PASSINGS + 20, 5)
