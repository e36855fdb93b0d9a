"""Ctrl-C while a command starts, in the middle of a response, and while it ends: 130, without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from ..conftest import Received, Responder, ScriptedBridge, head
from .conftest import command, terminal
from .test_chat import said

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


def interrupted(code: str) -> None:
    """The program gets to where it is interrupted, and ends as it should."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert "reached" in done.stdout
    assert (done.returncode, done.stderr.strip()) == (130, "")


@pytest.mark.parametrize(
    "module",
    [
        "click",
        "logging",
        "blindrelay.client.commands.chat",
        "grpc",
        "grpc._cython.cygrpc",
        "nacl",
        "cryptography",
        "google.protobuf",
        "blindrelay.client.transport",
        "httpx",
    ],
)
def test_while_it_starts(module: str, to_bridge: ScriptedBridge) -> None:
    interrupted(INTERRUPTED_IN.format(module=module, arguments=["chat", "Well?"]))
    assert to_bridge.received == []


@pytest.mark.parametrize("module", ["uvicorn", "starlette", "blindrelay.client.endpoint.server"])
def test_while_the_endpoint_starts(module: str, to_bridge: ScriptedBridge) -> None:
    interrupted(INTERRUPTED_IN.format(module=module, arguments=["proxy", "--port", "0"]))


def test_while_it_ends() -> None:
    interrupted(INTERRUPTED_AT_THE_END)


@pytest.mark.parametrize("at_terminal", [True, False])
def test_in_the_middle_of_an_answer(to_bridge: ScriptedBridge, at_terminal: bool) -> None:
    cancelled = threading.Event()

    async def answer(_: Received, respond: Responder) -> None:
        await respond.send(head=head(200, b"text/event-stream"))
        await respond.send(body=said("Once upon"))
        try:
            await to_bridge.stall(threading.Event())
        finally:
            cancelled.set()

    to_bridge.answer = answer
    if at_terminal:
        with terminal("chat", "Well?") as person:
            person.wait_for("Once upon")
            person.type("\x03")
            assert person.end() == 130
        assert person.left.replace("^C", "").split() == ["Once", "upon"]
    else:
        process = command("chat", "Well?")
        assert process.stdout is not None
        assert process.stdout.read(9) == b"Once upon"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.strip()) == (130, b"", b"")
    assert cancelled.wait(30)
