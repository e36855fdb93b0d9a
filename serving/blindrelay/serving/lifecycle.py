"""From start to drained: one gRPC server, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

import grpc

from blindrelay.serving.admission import Admission
from blindrelay.serving.files import read_files_again

STOP_GRACE: Final = 0.5
"""Seconds for the last statuses to leave, after the last call has ended or been given up."""

Stops = Callable[[asyncio.Queue[None], Callable[[], None]], AbstractContextManager[None]]
"""While its block runs, it puts an item into the queue for each time that the process is told to stop, and
calls the function when it is told to read its files again."""

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(queue: asyncio.Queue[None], reread: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT, and SIGHUP to reread, as Stops."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reread)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, queue.put_nowait, None)
    try:
        yield
    finally:
        for number in (*_STOP_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def serve_until_stopped(
    server: grpc.aio.Server,
    admission: Admission,
    drain_seconds: float,
    *,
    on_ready: Callable[[], None] | None = None,
    on_drain: Callable[[], Awaitable[None]] | None = None,
    rereading: Callable[[], AbstractContextManager[None]] = nullcontext,
    stops: Stops = stop_signals,
) -> None:
    """Starts a bound server, waits until it is told to stop, drains it and returns.

    Draining: new calls are refused at once (`admission` is closed, and the listener stays open so that they
    hear why), running ones may finish within `drain_seconds` and are then cancelled. Being told again cuts
    the wait short. `on_ready` is called when calls are taken and `stops` are heeded, `on_drain` when draining
    begins. SIGHUP has the followed files read again, within `rereading`.
    """
    told: asyncio.Queue[None] = asyncio.Queue()
    others = asyncio.all_tasks()

    def reread() -> None:
        with rereading():
            read_files_again()

    with stops(told, reread):
        await server.start()
        if on_ready is not None:
            on_ready()
        await told.get()
        admission.close()
        if on_drain is not None:
            await on_drain()
        await _first_of(admission.idle(), told.get(), timeout=drain_seconds)
        await server.stop(STOP_GRACE)
        # gRPC's tasks for the last calls: cut off in the middle, they would write a traceback to stderr.
        if last := asyncio.all_tasks() - others:
            await asyncio.wait(last, timeout=STOP_GRACE)


async def _first_of(*waits: Awaitable[None], timeout: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
