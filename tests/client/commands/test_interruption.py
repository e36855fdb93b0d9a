"""Ctrl-C while a command starts and while it ends: exit code 130, and no output."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ..conftest import ScriptedBridge

INTERRUPTED_IN = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            print("reached", flush=True)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from blindrelay.client.cli import main
sys.exit(main({arguments!r}))
"""

INTERRUPTED_AT_THE_END = """
import atexit, os, signal, sys
from blindrelay.client.cli import main
sys.argv = ["blindrelay", "config", "path"]
code = main()
atexit.register(signal.raise_signal, signal.SIGINT)
atexit.register(print, "reached", flush=True)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "program",
    [
        *(
            INTERRUPTED_IN.format(module=module, arguments=["chat", "Well?"])
            for module in ("click", "grpc", "nacl", "blindrelay.client.transport", "httpx")
        ),
        *(
            INTERRUPTED_IN.format(module=module, arguments=["proxy", "--port", "0"])
            for module in ("uvicorn", "starlette", "blindrelay.client.endpoint.server")
        ),
        INTERRUPTED_AT_THE_END,
    ],
)
def test_ctrl_c_is_quiet(program: str, to_bridge: ScriptedBridge) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "reached" in done.stdout
    assert (done.returncode, done.stderr.strip()) == (130, "")
    assert to_bridge.received == []
