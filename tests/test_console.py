"""Every program's output: to consoles that lack characters, to full disks, closed pipes, and nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blindrelay.trust import IdentityKey, format_identity

IDENTITY = format_identity(IdentityKey.generate().public_key)

PRINTING = {
    "blindrelay": ["blindrelay.client", "--help"],
    "blindrelay version": ["blindrelay.client", "--version"],
    "blindrelay config": [
        "blindrelay.client",
        "config",
        "--relay",
        f"blindrelay://r.example?bridge={IDENTITY}",
    ],
    "blindrelay doctor": ["blindrelay.client", "doctor", "--json", "--relay", "nonsense"],
    "relay": ["blindrelay.relay_node", "--help"],
    "relay token": ["blindrelay.relay_node", "token", "issue", "alice", "--tokens", "TOKENS"],
    "bridge": ["blindrelay.provider_bridge", "--help"],
    "testbed": ["blindrelay.testbed", "--help"],
    "testbed attack": ["blindrelay.testbed", "attack", "--list"],
}


def started(arguments: list[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    words = [str(folder / "tokens") if word == "TOKENS" else word for word in arguments]
    environment = os.environ | {"BLINDRELAY_CONNECTION": "", **options.pop("env", {})}
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [sys.executable, "-m", *words], env=environment, stderr=subprocess.PIPE, **options
    )
    return process


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this machine")
@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_a_full_disk_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        process = started(arguments, tmp_path, stdout=full)
        _, err = process.communicate(timeout=100)
    assert err.decode().endswith("the output could not be written: No space left on device\n")
    assert (err.count(b"\n"), process.returncode) == (1, 6 if "client" in arguments[0] else 1)


@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_a_closed_pipe_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = started(arguments, tmp_path, stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=100)
    assert err.decode().endswith("the output could not be written: Broken pipe\n")
    assert (err.count(b"\n"), process.returncode) == (1, 6 if "client" in arguments[0] else 1)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_a_console_that_is_not_utf_8_is_printed_to(
    encoding: str, arguments: list[str], tmp_path: Path
) -> None:
    process = started(arguments, tmp_path, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": encoding})
    out, err = process.communicate(timeout=100)
    assert b"Traceback" not in err
    assert process.returncode in (0, 2)
    assert out


@pytest.mark.parametrize("arguments", PRINTING.values(), ids=PRINTING)
def test_without_any_stream_nothing_fails(arguments: list[str], tmp_path: Path) -> None:
    script = '"$@" <&- >&- 2>&-'
    words = [str(tmp_path / "tokens") if word == "TOKENS" else word for word in arguments]
    command = ["sh", "-c", script, "sh", sys.executable, "-m", *words]
    assert subprocess.run(command, timeout=100, check=False).returncode in (0, 2)


def test_characters_that_a_console_lacks_are_escaped(tmp_path: Path) -> None:
    code = (
        "from blindrelay.v1.console import run_printing\n"
        "run_printing('x', lambda: print('\\u20ac \\u2713 \\ud800 \\U0001f600') or 0, 6)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True
    )
    assert done.stdout == b"\x80 \\u2713 \\ud800 \\U0001f600\n"


def test_a_folder_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    command = ["sh", "-c", script, "sh", str(gone), sys.executable, "-m", *PRINTING["blindrelay config"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
