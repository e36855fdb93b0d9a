"""The workflows, .ci/run and the README call make targets that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def commands(workflow: Path) -> list[str]:
    """Each make call, with every value of its matrix."""
    jobs: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    found = []
    for job in jobs.values():
        targets = job.get("strategy", {}).get("matrix", {}).get("target", [""])
        for step in job["steps"]:
            if (command := step.get("run", "")).startswith("make "):
                found += [command.replace("${{ matrix.target }}", target) for target in targets]
    return found


CI_RUN = [f"make {target}" for target in re.findall(r"^ *run (\S+)$", (ROOT / ".ci/run").read_text(), re.M)]


README = re.findall(r"^    (make [^\n#]*[^\s#])", (ROOT / "README.md").read_text(), re.M)
OF_WORKFLOWS = [each for workflow in WORKFLOWS for each in commands(workflow)]


@pytest.mark.parametrize("command", [*CI_RUN, *OF_WORKFLOWS, *README])
def test_make_targets_exist(command: str) -> None:
    words = re.sub(r" ARGS=.*", "", command).split()
    subprocess.run([*words, "--dry-run"], cwd=ROOT, check=True, capture_output=True)
