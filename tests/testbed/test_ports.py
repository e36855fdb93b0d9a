"""Free ports: each is given once, whichever process asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ASKING = """
import json, sys
from pathlib import Path
from blindrelay.testbed import ports

ports._RANGE, ports._ATTEMPTS = Path("range"), 10_000
print(json.dumps([ports.free_port(int(sys.argv[1])) for _ in range(int(sys.argv[2]))]), flush=True)
sys.stdin.read()
"""


def given_to_two(folder: Path, ports: int, *asked: int) -> list[list[int]]:
    """What two processes are given, one after the other, of so many ports on which nothing listens."""
    (folder / "range").write_text(f"{10_000 + ports}\t60999\n")
    given = []
    with ExitStack() as stack:
        for _ in range(2):
            asker = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", ASKING, *map(str, asked)],
                    cwd=folder,
                    env=os.environ | {"TMPDIR": str(folder)},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert asker.stdout is not None
            given.append(json.loads(asker.stdout.readline()))
    return given


def test_two_processes_are_given_different_ports(tmp_path: Path) -> None:
    """Each asks for half of sixteen."""
    first, second = given_to_two(tmp_path, 16, 1, 8)
    assert sorted(first + second) == list(range(10_000, 10_016))


def test_ports_that_follow_are_given_once_too(tmp_path: Path) -> None:
    """Of three ports, one pair leaves none. The system chooses the other process's."""
    (first,), (second,) = given_to_two(tmp_path, 3, 2, 1)
    assert first in (10_000, 10_001)
    assert second > 10_003
