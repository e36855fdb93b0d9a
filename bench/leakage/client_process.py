"""Client processes whose cost is counted, and that of the relay and the bridge meanwhile.

One reads its order from stdin, a JSON object on a line, prepares, and says so. When it reads another line, it
does what is counted. Then it reports the outcome, with its own CPU time as "cpu".
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from bench.chain import ROOT
from bench.probes import cpu_seconds

Spent = dict[str, float]
"""Seconds of CPU time, by process."""


def measured(
    module: str, order: Mapping[str, object], pids: Mapping[str, int]
) -> tuple[Spent, dict[str, Any]]:
    """The cost for client, relay and bridge while a client process obeys, and what it says in the end."""
    counted = {name: pids[name] for name in ("relay", "bridge")}
    command = [sys.executable, "-m", module]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as client:
        try:
            _ask(client, json.dumps(order))
            before = {name: cpu_seconds(pid) for name, pid in counted.items()}
            said = _ask(client, "go")
            spent = {name: cpu_seconds(pid) - before[name] for name, pid in counted.items()}
        finally:
            client.kill()
    return {**spent, "client": said["cpu"]}, said


def _ask(client: subprocess.Popen[str], line: str) -> dict[str, Any]:
    if client.stdin is None or client.stdout is None:
        raise RuntimeError("the client has no pipes")
    client.stdin.write(line + "\n")
    client.stdin.flush()
    answer: dict[str, Any] = json.loads(client.stdout.readline())
    return answer
