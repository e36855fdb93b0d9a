"""Tasks that go on when their client is closed: they read the rest of shaped responses.

An application has the whole response by then. Its last cells are read all the same, or the moment at which a
stream is dropped would tell the response's length (spec/protocol.md, section 9.6).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine
from typing import Any

_tasks: weakref.WeakSet[asyncio.Task[None]] = weakref.WeakSet()


def linger(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Runs something in this event loop until it ends, the loop ends, or a fork is due."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    return task


def lingering(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[None]]:
    """The tasks of an event loop that have not ended."""
    return {task for task in _tasks if task.get_loop() is loop and not task.done()}
