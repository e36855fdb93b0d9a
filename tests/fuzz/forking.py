"""Fuzzes targets one after another, each in a process of its own: python -m tests.fuzz.forking REGISTRY

Each line of stdin is a JSON list: a target's name, the file for its output, then libFuzzer's options and
folders. The answer is a line with the exit code. Only blindrelay is instrumented. That takes seconds, so it
is done once and the processes are forked.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import atheris


def main() -> None:
    logging.disable()  # logging each refused directory would take most of the time
    with atheris.instrument_imports(include=["blindrelay"]):
        targets = {target.name: target for target in importlib.import_module(sys.argv[1]).TARGETS}
    for line in sys.stdin:
        name, log, *options = json.loads(line)
        if (child := os.fork()) == 0:
            _fuzz(targets[name], Path(log), options)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _fuzz(target: Any, log: Path, options: list[str]) -> None:
    """Ends the process, with libFuzzer's exit code."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    atheris.Setup([target.name, *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
