"""The asyncio engine of gRPC in this process: where it cannot run, and what a fork does to it.

The engine is a thread that watches the sockets of all channels of the process. It ends with the last channel.
A child that is forked while it runs inherits the channels without the thread, and its calls would hang. So
idle connections are closed before a fork, and parent and child open new ones. If an exchange is running, or
an event loop that owns a connection, the child gets a ForkError at once
(docs/adr/0025-where-the-client-runs.md).
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from blindrelay.client.errors import ForkError, UnsupportedRuntimeError

T = TypeVar("T")

LAST_NEWS_SECONDS: Final = 0.02
"""Seconds for gRPC to report the end of a channel or call. If the event loop has ended before, gRPC still
writes to it, and prints a traceback."""

_POLLER: Final = "_poll_wrapper"
"""Part of the name of the engine's thread. gRPC has no other sign that it runs."""

_NATIVE_THREADS: Final = ("grpc_global", "event_engine")
"""Threads of the gRPC core. They end just after the engine, and run for synchronous channels, too."""

_ENDING_SECONDS: Final = 0.25
"""How long a fork waits for an unused engine to end, which takes milliseconds."""

_STEP_SECONDS: Final = 0.002

_releases: WeakKeyDictionary[Any, Callable[[Any], bool]] = WeakKeyDictionary()
_runs_at_fork = False
_inherited = False


def require_engine() -> None:
    """Raises ForkError or UnsupportedRuntimeError where gRPC's asyncio engine cannot run."""
    if _inherited:
        raise ForkError
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        raise UnsupportedRuntimeError("gevent")
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        raise UnsupportedRuntimeError("eventlet")


def release_before_fork(owner: T, release: Callable[[T], bool]) -> None:
    """Registers a method to be called before each fork, as long as its object exists.

    It closes idle connections and returns whether no connection is left.
    """
    _releases[owner] = release


def _before_fork() -> None:
    global _runs_at_fork
    if _engine_runs():
        in_use = [owner for owner, release in list(_releases.items()) if not release(owner)]
        if not in_use:
            gc.collect()  # a channel whose event loop has ended may be in a reference cycle
            _wait_for_the_end()
    _runs_at_fork = _engine_runs()


def _wait_for_the_end() -> None:
    patience = time.monotonic() + _ENDING_SECONDS
    while _engine_runs() and time.monotonic() < patience:
        time.sleep(_STEP_SECONDS)


def _engine_runs() -> bool:
    if any(_POLLER in thread.name for thread in threading.enumerate()):
        return True
    handlers = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "0").lower() not in ("0", "false", "no", "off")
    return not handlers and any(name.startswith(_NATIVE_THREADS) for name in _native_thread_names())


def _native_thread_names() -> Iterator[str]:
    """The names of all threads, also native ones; empty without /proc."""
    for file in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # the thread has ended
            yield file.read_text("utf-8", "replace")


def _in_child() -> None:
    global _inherited
    _inherited = _inherited or _runs_at_fork


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
