"""One event loop in a thread of its own, for callers that have none.

The synchronous transport uses the same code as the asynchronous one: what waits for the network runs in
the portal's loop, and the caller's thread waits for it. gRPC's own synchronous client costs more, cannot
bound the wait for the next message, and would be a second implementation.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from blindrelay.client.engine import require_engine
from blindrelay.client.errors import ClosedError, ForkError

T = TypeVar("T")

_LAST_SECONDS: Final = 0.25
"""For what is about to end by itself, when the interpreter or the client ends: then it is cancelled."""


class Portal:
    """A thread with a running event loop; its thread never keeps the interpreter from ending.

    One that nobody refers to any more ends like one that is closed.

    Raises ForkError or UnsupportedRuntimeError where gRPC cannot run.
    """

    def __init__(self) -> None:
        require_engine()
        self._started_in = os.getpid()
        self._lock = threading.RLock()  # a signal handler may send while its thread is in here
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="blindrelay", daemon=True)
        self._thread.start()
        _open.add(self)
        self._abandoned = weakref.finalize(self, _abandon, self._loop, self._started_in)
        self._abandoned.atexit = False  # then it is closed, and waited for

    @property
    def is_of_this_process(self) -> bool:
        """False in a child that was forked after the thread had begun: it does not have the thread."""
        return os.getpid() == self._started_in

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Starts the coroutine in the portal's loop. Raises ForkError in a forked child, or ClosedError."""
        if not self.is_of_this_process:
            coroutine.close()
            raise ForkError
        with self._lock:
            if self._closed:
                coroutine.close()
                raise ClosedError
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs the coroutine in the portal's loop and waits for it; Ctrl-C here cancels it there.

        Raises ForkError in a forked child, ClosedError if the portal is closed, before or meanwhile, and
        TimeoutError after `timeout` seconds.
        """
        future = self.begin(coroutine)
        try:
            return outcome(future, timeout)
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends what still runs, and the thread. Closing twice is allowed."""
        if not self.is_of_this_process:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._abandoned.detach()
        # What was handed over before the lock stands before this in the loop's queue, and is ended by it.
        asyncio.run_coroutine_threadsafe(_end_everything_else(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


_open: weakref.WeakSet[Portal] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for portal in list(_open):
        portal.close()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """The thread's work; it must not refer to the portal."""
    try:
        loop.run_forever()
    finally:
        loop.close()


def _abandon(loop: asyncio.AbstractEventLoop, started_in: int) -> None:
    """Ends the loop without waiting for it: this may run in any thread, the loop's own too."""
    if os.getpid() == started_in:
        loop.call_soon_threadsafe(_begin_to_end, loop)


def _begin_to_end(loop: asyncio.AbstractEventLoop) -> None:
    ending = loop.create_task(_end_everything_else())
    ending.add_done_callback(lambda _: loop.stop())


def outcome(future: Future[T], timeout: float | None = None) -> T:
    """What a portal's work came to. Raises its error, or ClosedError if the portal was closed meanwhile."""
    try:
        return future.result(timeout)
    except CancelledError:
        raise ClosedError from None


async def _end_everything_else() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=_LAST_SECONDS)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LAST_SECONDS)
