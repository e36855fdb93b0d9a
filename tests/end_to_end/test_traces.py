"""Processes leave no core dumps, and files only for their user."""

from __future__ import annotations

from pathlib import Path

import pytest

from blindrelay.testbed import Testbed


@pytest.mark.parametrize("part", ["relay", "bridge"])
def test_no_core_dumps(scripted_bed: Testbed, part: str) -> None:
    limits = Path(f"/proc/{scripted_bed.pids[part]}/limits").read_text()
    (cores,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert cores.split()[4:6] == ["0", "0"]


@pytest.mark.parametrize("part", ["relay", "bridge"])
def test_process_makes_private_files(scripted_bed: Testbed, part: str) -> None:
    status = Path(f"/proc/{scripted_bed.pids[part]}/status").read_text()
    (umask,) = (line for line in status.splitlines() if line.startswith("Umask"))
    assert umask.split()[1] == "0077"
