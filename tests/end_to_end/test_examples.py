"""Every example runs as a user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blindrelay.testbed import Testbed

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(example: Path, scripted_bed: Testbed) -> None:
    done = run(example, {"BLINDRELAY_CONNECTION": scripted_bed.relay})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == ""


def test_example_without_a_connection_says_what_is_missing(tmp_path: Path) -> None:
    assert len(EXAMPLES) >= 5
    done = run(EXAMPLES[0], {"XDG_CONFIG_HOME": str(tmp_path), "BLINDRELAY_CONNECTION": ""})
    assert done.returncode == 1
    assert "set BLINDRELAY_CONNECTION" in done.stderr.splitlines()[-1]


def run(example: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
