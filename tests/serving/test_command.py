"""The shared command line: exit codes, one-line errors, the end of a server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from blindrelay.serving import Announce, ConfigError, StartError, command_parser, run_command

# A server with one slow method, run by the shared plumbing; it prints when a call has begun.
SERVER = """
import asyncio, sys
from blindrelay.serving import (
    Address, Admission, command_parser, guarded, listen, run_command, serve_until_stopped, server_options
)
import grpc

async def serve(config, announce):
    admission = Admission(10)

    async def slow(request, context):
        with admission.admit():
            print("begun", flush=True)
            await asyncio.sleep(float(request))
            return b"done"

    server = grpc.aio.server(options=server_options(100))
    methods = {"C": grpc.unary_unary_rpc_method_handler(guarded(slow))}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", methods),))
    address = listen(server, Address("127.0.0.1", 0), None)
    ready = lambda: announce("ready", listening=str(address))
    await serve_until_stopped(server, admission, float(config.read_text()), on_ready=ready)

def run(arguments, announce):
    asyncio.run(serve(arguments.config, announce))

sys.exit(run_command(command_parser("some-server", "A server.", run)[0]))
"""


def exit_code(serve: Any, *argv: str) -> int:
    parser, _ = command_parser("some-server", "A server.", serve)
    return run_command(parser, argv)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StartError("the port is taken"), 1, "some-server: the port is taken\n"),
        (ConfigError("key x is\nwrong"), 2, "some-server: key x is wrong\n"),
    ],
)
def test_errors_are_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        raise error

    assert exit_code(serve, "serve", "--config", "x") == code
    assert capsys.readouterr() == ("", line)


def test_a_fault_of_ours_names_its_place_and_not_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        raise ValueError("canary")

    assert exit_code(serve, "serve", "--config", "x") == 1
    error = capsys.readouterr().err
    assert error.startswith("some-server: stopped by an internal error (ValueError at test_command.py:")
    assert "canary" not in error


def test_help_is_no_error() -> None:
    with pytest.raises(SystemExit) as end:
        exit_code(lambda *_: None, "serve", "--help")
    assert end.value.code == 0


@pytest.mark.parametrize(
    ("argv", "out"), [((), "A sentence.\n"), (("--json",), '{"listening": "here", "more": "x"}\n')]
)
def test_one_line_says_where_it_listens(
    argv: tuple[str, ...], out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        announce("A sentence.", listening="here", more="x")

    assert exit_code(serve, "serve", "--config", "x", *argv) == 0
    assert capsys.readouterr().out == out


def test_a_program_can_add_commands(capsys: pytest.CaptureFixture[str]) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        raise AssertionError

    parser, commands = command_parser("some-server", "A server.", serve)
    commands.add_parser("hello").set_defaults(run=lambda _: print("hello"))
    assert run_command(parser, ["hello"]) == 0
    assert capsys.readouterr().out == "hello\n"


class Server:
    """The server above as a process."""

    def __init__(self, folder: Path, drain: float) -> None:
        (folder / "server.py").write_text(SERVER)
        (folder / "config").write_text(str(drain))
        self.popen = subprocess.Popen(
            [
                sys.executable,
                str(folder / "server.py"),
                "serve",
                "--config",
                str(folder / "config"),
                "--json",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = json.loads(self.line())["listening"]

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()


async def call(server: Server, seconds: float) -> tuple[bytes | None, Any]:
    import grpc

    async with grpc.aio.insecure_channel(server.address) as channel:
        method: Any = channel.unary_unary("/a.B/C")
        try:
            return await method(str(seconds).encode(), timeout=30), None
        except grpc.aio.AioRpcError as error:
            return None, error.details()


async def test_draining_lets_calls_finish_and_refuses_new_ones(tmp_path: Path) -> None:
    server = Server(tmp_path, drain=30)
    running = asyncio.create_task(call(server, 2))
    assert await asyncio.to_thread(server.line) == "begun\n"
    server.popen.terminate()
    await asyncio.sleep(0.3)
    assert await call(server, 0) == (None, "draining")
    assert await running == (b"done", None)
    assert server.popen.wait(20) == 0
    assert server.popen.communicate() == ("", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_server_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    server = Server(tmp_path, drain=3_600)
    server.popen.send_signal(number)
    assert await asyncio.to_thread(server.popen.wait, 20) == 0
    assert server.popen.communicate() == ("", "")


async def test_what_outlasts_the_drain_is_cancelled(tmp_path: Path) -> None:
    server = Server(tmp_path, drain=0.2)
    running = asyncio.create_task(call(server, 3_600))
    assert await asyncio.to_thread(server.line) == "begun\n"
    server.popen.terminate()
    answer, details = await running
    assert answer is None
    assert details
    assert await asyncio.to_thread(server.popen.wait, 20) == 0
    assert server.popen.communicate() == ("", "")


def test_grpcs_own_log_is_off_unless_asked_for() -> None:
    """It would write peers' addresses to stderr, past everything else."""
    script = "import os, blindrelay.serving; print(os.environ['GRPC_VERBOSITY'])"
    bare = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    for given, expected in (({}, "NONE"), ({"GRPC_VERBOSITY": "DEBUG"}, "DEBUG")):
        run = subprocess.run(
            [sys.executable, "-c", script], env=bare | given, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == expected


@pytest.mark.parametrize("package", ["blindrelay.serving", "blindrelay.relay_node"])
def test_the_environment_is_set_before_grpc_is_imported(package: str) -> None:
    script = (
        "import os, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'grpc': print(os.environ.get('GRPC_VERBOSITY'))\n"
        "sys.meta_path.insert(0, Look())\n"
        f"import {package}\n"
    )
    bare = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    run = subprocess.run([sys.executable, "-c", script], env=bare, capture_output=True, text=True, check=True)
    assert run.stdout.split()[0] == "NONE"


@pytest.mark.parametrize("module", ["client", "relay_node", "provider_bridge"])
def test_each_command_tells_its_version(module: str) -> None:
    command = [sys.executable, "-m", f"blindrelay.{module}", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == version("blindrelay")
