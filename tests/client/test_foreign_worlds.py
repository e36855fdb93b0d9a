"""The client outside asyncio's main thread: it works, or says at once why it cannot."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .conftest import URL
from .scripted_bridge import Received, Responder, ScriptedBridge, stalling, whole

LISTED = tomllib.loads(Path(__file__).with_name("worlds.toml").read_text("utf-8"))


@pytest.fixture
def stalling_bridge(bridge: ScriptedBridge) -> ScriptedBridge:
    """A bridge that never ends its response to a request for /stalling."""

    async def answer(received: Received, respond: Responder) -> None:
        await (stalling if received.head.url.endswith("/stalling") else whole)(received, respond)

    bridge.answer = answer
    return bridge


@pytest.mark.parametrize("world", LISTED["world"], ids=lambda world: world["name"])
def test_works_or_says_why_not(world: dict[str, str], stalling_bridge: ScriptedBridge) -> None:
    program = world.get("before", "") + LISTED["prologue"] + world["program"]
    arguments = [sys.executable, "-X", "dev", "-c", program, stalling_bridge.connection, URL]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
    assert (" ".join(done.stdout.split()), done.returncode) == (world["prints"], 0), done.stderr
    assert "BlindRelay" not in done.stderr
