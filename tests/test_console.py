"""Output of every program: to consoles that lack characters, to full disks, closed pipes, and nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from blindrelay.trust import IdentityKey, format_identity

RELAY = f"blindrelay://r.example?bridge={format_identity(IdentityKey.generate().public_key)}"
CONFIG = ("blindrelay.client", "config", "--relay", RELAY)
PRINTING = {
    "blindrelay": ("blindrelay.client", "--help"),
    "blindrelay config": CONFIG,
    "blindrelay doctor": ("blindrelay.client", "doctor", "--json", "--relay", "nonsense"),
    "relay": ("blindrelay.relay_node", "--help"),
    "relay token": ("blindrelay.relay_node", "token", "issue", "alice", "--tokens", "tokens"),
    "bridge": ("blindrelay.provider_bridge", "--help"),
    "testbed": ("blindrelay.testbed", "attack", "--list"),
}
each_program = pytest.mark.parametrize("program", PRINTING.values(), ids=PRINTING)


def run(program: Sequence[str], folder: Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options["env"] = os.environ | {"BLINDRELAY_CONNECTION": ""} | options.get("env", {})
    command = [sys.executable, "-m", *program]
    return subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, timeout=100, check=False, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this machine")
@each_program
def test_full_disk_is_one_line(program: Sequence[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        is_one_line(run(program, tmp_path, stdout=full), "No space left on device", program)


def test_closed_pipe_is_one_line(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    is_one_line(run(CONFIG, tmp_path, stdout=writer), "Broken pipe", CONFIG)
    os.close(writer)


def is_one_line(done: subprocess.CompletedProcess[bytes], reason: str, program: Sequence[str]) -> None:
    assert done.stderr.decode().endswith(f"the output could not be written: {reason}\n")
    assert (done.stderr.count(b"\n"), done.returncode) == (1, 6 if "client" in program[0] else 1)


@each_program
def test_ascii_console_is_enough(program: Sequence[str], tmp_path: Path) -> None:
    done = run(program, tmp_path, stdout=subprocess.PIPE, env={"PYTHONIOENCODING": "ascii"})
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 2)
    assert done.stdout


def test_missing_characters_are_escaped() -> None:
    code = (
        "from blindrelay.v1.console import run_printing\n"
        "run_printing('x', lambda: print('\\u20ac \\u2713 \\ud800 \\U0001f600') or 0, 6)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True
    )
    assert done.stdout == b"\x80 \\u2713 \\ud800 \\U0001f600\n"


@pytest.mark.parametrize(
    "script", ['exec "$@" <&- >&- 2>&-', 'mkdir gone && cd gone && rmdir ../gone && exec "$@"']
)
def test_closed_streams_and_a_deleted_folder_do_not_matter(script: str, tmp_path: Path) -> None:
    command = ["sh", "-c", script, "sh", sys.executable, "-m", *CONFIG]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
