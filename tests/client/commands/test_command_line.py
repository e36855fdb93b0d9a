"""What commands have in common: help, completion, exit codes, --origin, Ctrl-C; and `blindrelay models`."""

from __future__ import annotations

import json
import shlex
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

from ..conftest import IDENTITY
from ..scripted_bridge import ScriptedBridge, responding
from .conftest import Run, command, refused, succeeded


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
    out = succeeded(run, *name.split(), "--help")
    assert "Examples:\n" in out
    assert f"    blindrelay {name}" in out
    assert "Exit codes:" in out
    assert "..." not in out.partition("\nCommands:\n")[2]
    assert [each.name for each in command.params if isinstance(each, click.Option) and not each.help] == []
    is_only_a_group = isinstance(command, click.Group) and not command.invoke_without_command
    prints_for_its_program = name == "run"
    assert "--json" in out or is_only_a_group or prints_for_its_program


@pytest.mark.usefixtures("to_bridge")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "No such command"),
        ("chat ' '", "the prompt is empty"),
        ("chat --provider anthropic Well?", "blindrelay models --provider anthropic"),
        ("chat --provider nobody Well?", "'nobody' is not one of"),
        ("chat --relay https://relay Well?", "has the form"),
        ("run", "Missing argument 'CMD...'"),
        ("run --prot 1 true", "No such option"),
        ("proxy --port 70000", "--port"),
        ("proxy --host 0.0.0.0", "--allow-others"),
        ("proxy --host ::", "--allow-others"),
        ("proxy --host localhost", "--host is an address"),
        ("proxy --provider nobody", "--provider is one of anthropic, "),
        ("proxy --relay nothing", "blindrelay://"),
        ("proxy extra", "extra"),
        ("keys nonsense", "No such command"),
        ("keys compare", "Missing argument 'SOURCE...'"),
        ("keys compare history", "nothing to compare"),
        ("keys compare /nowhere", "cannot read /nowhere: No such file"),
        ("keys compare /dev/null", "/dev/null: it is not JSON"),
        ("keys compare blindrelay://relay", "no bridge is pinned"),
        ("keys show --relay https://relay", "has the form"),
        ("keys show --save /nowhere/file", "cannot write /nowhere/file: No such file"),
        ("keys show --loud", "No such option"),
        ("keys verify-proof /dev/null", "Missing option '--identity'"),
        ("keys verify-proof /dev/null --identity br1", "--identity: a bridge identity has 59"),
        (f"keys verify-proof /dev/null --identity {IDENTITY}", "/dev/null: it is not JSON"),
    ],
)
def test_wrong_input_is_rejected(line: str, message: str, run: Run) -> None:
    assert message in refused(run, *shlex.split(line))


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


INTERRUPTED_IN = """
import importlib.abc, os, signal, sys
class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            print("reached", flush=True)
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from blindrelay.client.cli import main
sys.exit(main({arguments!r}))
"""

INTERRUPTED_AT_THE_END = """
import atexit, signal, sys
from blindrelay.client.cli import main
sys.argv = ["blindrelay", "config", "path"]
code = main()
atexit.register(signal.raise_signal, signal.SIGINT)
atexit.register(print, "reached", flush=True)
sys.exit(code)
"""

INTERRUPTED_BEFORE_A_COROUTINE_RUNS = """
import sys
from blindrelay.client.cli import main
from blindrelay.client.portal import Portal
def begin(portal, coroutine):
    print("reached", flush=True)
    raise KeyboardInterrupt
Portal.begin = begin
sys.exit(main({arguments!r}))
"""

OF_CHAT = ("click", "grpc", "nacl", "blindrelay.client.transport", "httpx")
OF_PROXY = ("uvicorn", "starlette", "blindrelay.client.endpoint.server")


@pytest.mark.parametrize(
    "program",
    [
        *(INTERRUPTED_IN.format(module=module, arguments=["chat", "Well?"]) for module in OF_CHAT),
        *(INTERRUPTED_IN.format(module=module, arguments=["proxy", "--port", "0"]) for module in OF_PROXY),
        INTERRUPTED_AT_THE_END,
        INTERRUPTED_BEFORE_A_COROUTINE_RUNS.format(arguments=["chat", "Well?"]),
    ],
)
def test_ctrl_c_while_a_command_starts_or_ends_is_quiet(program: str, to_bridge: ScriptedBridge) -> None:
    arguments = [sys.executable, "-c", program]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert "reached" in done.stdout
    assert (done.returncode, done.stderr.strip()) == (130, "")
    assert to_bridge.received == []


def test_models_are_listed(to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = responding(200, b'{"data": [{"id": "one"}, {"id": "two\\u001b[2J"}]}')
    assert succeeded(run, "models", "--provider", "anthropic") == "one\ntwo[2J\n"
    (received,) = to_bridge.received
    assert (received.head.method, received.head.url) == ("GET", "https://api.anthropic.com/v1/models")
    assert b"anthropic-version" in received.headers
    listed = json.loads(succeeded(run, "models", "--json"))
    assert listed == {"provider": "openai", "models": ["one", "two\x1b[2J"]}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 1}', b'{"data": [{}]}'])
def test_invalid_models_are_the_providers_fault(body: bytes, to_bridge: ScriptedBridge, run: Run) -> None:
    to_bridge.answer = responding(200, body)
    assert refused(run, "models", code=5).endswith("answered with something other than a list of models\n")


@pytest.mark.parametrize("command", [["chat", "Hello"], ["models"], ["doctor"]])
@pytest.mark.parametrize(
    "origin", ["models.example", "ftp://models.example", "https://", "https://[", "http://h:p"]
)
def test_an_origin_that_is_not_a_url_is_wrong_input(command: list[str], origin: str, run: Run) -> None:
    said = refused(run, *command, "--origin", origin)
    assert said.endswith(f"{origin!r} is not a URL such as https://models.example\n")
