"""The shared command line: exit codes and one-line errors."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

from blindrelay.serving import Announce, ConfigError, StartError, command_parser, run_command


def exit_code(serve: Any, *argv: str) -> int:
    parser, _ = command_parser("some-server", "A server.", serve)
    return run_command(parser, argv)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (StartError("the port is taken"), 1, "the port is taken\n"),
        (ConfigError("key x is\nwrong"), 2, "key x is wrong\n"),
        (ValueError("canary"), 1, "stopped by an internal error (ValueError at test_command.py:"),
    ],
)
def test_error_is_one_line(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        raise error

    assert exit_code(serve, "serve", "--config", "x") == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"some-server: {line}")
    assert "canary" not in err


@pytest.mark.parametrize(
    ("argv", "out"), [((), "A sentence.\n"), (("--json",), '{"listening": "here", "more": "x"}\n')]
)
def test_one_line_announces_the_address(
    argv: tuple[str, ...], out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(arguments: object, announce: Announce) -> None:
        announce("A sentence.", listening="here", more="x")

    assert exit_code(serve, "serve", "--config", "x", *argv) == 0
    assert capsys.readouterr().out == out


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        exit_code(None, "--version")
    assert capsys.readouterr().out.startswith(f"some-server {version('blindrelay')}")


@pytest.mark.parametrize(
    ("package", "given", "expected"),
    [("serving", "", "NONE"), ("serving", "DEBUG", "DEBUG"), ("relay_node", "DEBUG", "NONE")],
)
def test_grpcs_log_is_off_when_grpc_is_imported(package: str, given: str, expected: str) -> None:
    """Its log would write peers' addresses to stderr. A relay does not let the environment turn it on."""
    script = (
        "import os, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'grpc': print(os.environ.get('GRPC_VERBOSITY'))\n"
        "sys.meta_path.insert(0, Look())\n"
        f"import blindrelay.{package}\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "GRPC_VERBOSITY"}
    if given:
        env["GRPC_VERBOSITY"] = given
    run = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [expected]
