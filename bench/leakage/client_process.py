"""Client processes, which do something on a line from stdin and answer with a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.chain import ROOT

Client = subprocess.Popen[str]


@contextmanager
def client_process(module: str) -> Iterator[Client]:
    """One that runs this module. It is killed at the block's end, if it has not ended."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(client: Client, line: str) -> dict[str, Any]:
    """Sends a line, and waits for the answer."""
    if client.stdin is None or client.stdout is None:
        raise RuntimeError("the client has no pipes")
    client.stdin.write(line + "\n")
    client.stdin.flush()
    answer: dict[str, Any] = json.loads(client.stdout.readline())
    return answer
