"""Free ports: each is given once, whichever process asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ASKING = """
import json, sys
from pathlib import Path
from blindrelay.testbed import ports

ports._RANGE, ports._ATTEMPTS = Path("range"), 10_000
print(json.dumps([ports.free_port() for _ in range(8)]), flush=True)
sys.stdin.read()
"""


def test_two_processes_are_given_different_ports(tmp_path: Path) -> None:
    """Each asks for half of sixteen ports, and nothing listens on any of them."""
    (tmp_path / "range").write_text("10016\t60999\n")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    askers = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    given = [port for asker in askers if asker.stdout for port in json.loads(asker.stdout.readline())]
    for asker in askers:
        asker.communicate()
    assert len(set(given)) == len(given) == 16
