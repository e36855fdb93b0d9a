"""The kit as its users run it, and the client in JavaScript with changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ROOT / ".npm" / "javascript"
CLIENT = "examples/javascript"
PROGRAM = "tests/conformance/javascript/conformance.js"

PATIENCE = "60"
"""Seconds for an answer, where a test gives no other time."""

Run = subprocess.CompletedProcess[str]
Changes = Mapping[str, tuple[str, str]]
"""By file, a text and what stands in its place."""

Javascript = Callable[[Changes], list[str]]


def run_kit(*arguments: str, command: Sequence[str]) -> Run:
    kit = [
        sys.executable,
        "-m",
        "blindrelay.testing",
        "conformance",
        "--timeout",
        PATIENCE,
        *arguments,
        "--",
        *command,
    ]
    return subprocess.run(kit, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def results_of(*arguments: str, command: Sequence[str]) -> dict[str, Any]:
    """What the kit writes as JSON. Its exit code agrees."""
    done = run_kit("--json", *arguments, command=command)
    assert done.stdout, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if results["failed"] or not results["passed"] else 0)
    return results


@pytest.fixture(scope="session")
def reference() -> list[str]:
    """A program over this repository's own core and client."""
    return [sys.executable, "-m", "tests.conformance.reference"]


@pytest.fixture
def javascript(tmp_path: Path) -> Javascript:
    """A copy of the client in JavaScript with changes, as a command.

    It skips where npm has not installed what the client uses, but not in continuous integration.
    """
    if not (PACKAGES / "ready").exists():
        message = "the JavaScript client's packages are not installed: make .npm/javascript/ready"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)

    def copied(changes: Changes) -> list[str]:
        shutil.copytree(ROOT / CLIENT, tmp_path / CLIENT, ignore=shutil.ignore_patterns("node_modules"))
        (tmp_path / PROGRAM).parent.mkdir(parents=True)
        shutil.copy(ROOT / PROGRAM, tmp_path / PROGRAM)
        (tmp_path / CLIENT / "node_modules").symlink_to(PACKAGES / "node_modules")
        for folder in ("proto", "spec"):
            (tmp_path / folder).symlink_to(ROOT / folder)
        for file, (old, new) in changes.items():
            path = tmp_path / (PROGRAM if file == "conformance.js" else f"{CLIENT}/{file}")
            text = path.read_text("utf-8")
            assert text.count(old) == 1, f"{file} has changed: {old}"
            path.write_text(text.replace(old, new), "utf-8")
        return ["node", str(tmp_path / PROGRAM)]

    return copied
