"""The command `trace`: what the real relay sees of texts that a provider replays."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from blindrelay.testbed.trace.recording import Recorded, as_json, record
from blindrelay.testbed.trace.scene import replaying
from blindrelay.testbed.trace.texts import read_texts

FORM: Final = """\
FILE has one JSON object a line:
  label   any JSON value; it comes back with the trace
  text    what the provider says, in pieces: each is white space, if any, and a word
  gaps    a list of milliseconds, one before each piece, the first before the first
  ending  optional: stop (default), length, error (of the provider), cut, refused (by the bridge)

Each exchange is one JSON object a line on stdout, as soon as its last record has passed:
  label   as in FILE
  trace   a list of [milliseconds since the request's first record, "up" or "down", bytes]
"""


def run_trace(shape: str, texts: Path, parallel: int) -> None:
    """Replays every text once. Raises TestbedError; InputError for a wrong file."""
    replays = read_texts(texts)
    with replaying(replays) as scene:
        work = record(scene, shape, range(len(replays)), min(parallel, len(replays)), _print)
        run_interruptibly(work)


def run_interruptibly(work: Coroutine[Any, Any, None]) -> None:
    """Runs something in an event loop. SIGINT and SIGTERM cancel it. Then it raises KeyboardInterrupt."""

    async def interruptible() -> None:
        task = asyncio.current_task()
        if task is not None:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await work

    try:
        asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _print(recorded: Recorded) -> None:
    sys.stdout.write(json.dumps(as_json(recorded)) + "\n")
    sys.stdout.flush()
