"""The benchmark runs and divides rightly; what it measures is nobody's promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "bench" / "relay_cpu.py"
SIZES = ["--rounds", "1", "--exchanges", "10", "--streams", "8", "--pieces", "4"]


def run(*options: str) -> str:
    command = [sys.executable, str(COMMAND), *SIZES, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


def test_the_samples_name_every_process_and_way() -> None:
    samples = json.loads(run("--json"))["samples"]
    assert {(sample["per"], sample["way"]) for sample in samples} == {
        ("exchange", "through the relay"),
        ("exchange", "straight to the bridge"),
        ("streamed piece", "through the relay"),
        ("streamed piece", "straight to the bridge"),
    }
    assert {sample["units"] for sample in samples} == {10, 32}
    assert set(samples[0]["cpu"]) == {"provider", "bridge", "relay"}


def test_the_table_has_a_row_for_each() -> None:
    table = run()
    assert table.count("| exchange |") == 2
    assert table.count("| streamed piece |") == 2
