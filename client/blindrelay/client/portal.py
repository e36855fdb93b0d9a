"""An event loop in its own thread, for synchronous callers and for trio.

The synchronous transport runs the asynchronous one in the portal's loop, and the calling thread waits.
The synchronous client of gRPC costs more and cannot limit the wait for the next message. It would also be a
second implementation.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from typing import Any, Final, TypeVar

from blindrelay.client.engine import LAST_NEWS_SECONDS, release_before_fork, require_engine
from blindrelay.client.errors import ClosedError, ForkError
from blindrelay.client.lingering import lingering

T = TypeVar("T")

_LAST_SECONDS: Final = 0.25
"""How long tasks may take to end when the client or the interpreter ends. Then they are cancelled."""


class Portal:
    """A thread with a running event loop. It does not keep the interpreter from ending.

    It ends when it is closed or no longer referred to.

    Raises ForkError or UnsupportedRuntimeError where gRPC cannot run.
    """

    def __init__(self) -> None:
        require_engine()
        self._started_in = os.getpid()
        self._lock = threading.RLock()  # a signal handler may run in a thread that holds it
        self._closed = False
        self._begun: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="blindrelay", daemon=True)
        self._thread.start()
        _open.add(self)
        self._abandoned = weakref.finalize(self, _abandon, self._loop, self._started_in)
        self._abandoned.atexit = False  # _close_all() closes it then

    @property
    def is_of_this_process(self) -> bool:
        """False in a child that was forked after the thread was started: it has no such thread."""
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
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._begun.add(future)
            return future

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs the coroutine in the portal's loop and waits for it. Ctrl-C in this thread cancels it.

        Raises ForkError in a forked child, ClosedError if the portal was or is closed, and TimeoutError after
        `timeout` seconds.
        """
        future = self.begin(coroutine)
        try:
            return outcome(future, timeout)
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Ends everything that runs in the loop, and the thread. It may be called twice."""
        if not self.is_of_this_process:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._abandoned.detach()
        if lingering(self._loop):
            self._linger()
            return
        # Coroutines that were started before the lock was taken precede this one, which ends them.
        asyncio.run_coroutine_threadsafe(_end_everything_else(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _linger(self) -> None:
        for future in wait(self._begun, _LAST_SECONDS).not_done:
            future.cancel()
        release_before_fork(self, Portal.end)
        _lingering.difference_update([each for each in _lingering if not each._thread.is_alive()])
        _lingering.add(self)
        asyncio.run_coroutine_threadsafe(_stop_later(), self._loop)

    def end(self) -> bool:
        """As close(), but nothing lingers. Returns True."""
        self.close()
        _lingering.discard(self)
        if self.is_of_this_process and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(_cancel_lingering, self._loop)
            self._thread.join()
        return True


_open: weakref.WeakSet[Portal] = weakref.WeakSet()
_lingering: set[Portal] = set()
"""Closed portals whose threads may still read the rest of shaped responses."""


@atexit.register
def _close_all() -> None:
    for portal in list(_open):
        portal.end()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """The thread's work, which must not refer to the portal."""
    try:
        loop.run_forever()
    finally:
        loop.close()


def _abandon(loop: asyncio.AbstractEventLoop, started_in: int) -> None:
    """Ends the loop without waiting for it. This may run in any thread, also that of the loop."""
    if os.getpid() == started_in:
        loop.call_soon_threadsafe(_begin_to_end, loop)


def _begin_to_end(loop: asyncio.AbstractEventLoop) -> None:
    ending = loop.create_task(_end_everything_else())
    ending.add_done_callback(lambda _: loop.stop())


def outcome(future: Future[T], timeout: float | None = None) -> T:
    """The result of a portal's work. Raises its error, or ClosedError if the portal was closed."""
    try:
        return future.result(timeout)
    except CancelledError:
        raise ClosedError from None


async def _stop_later() -> None:
    loop = asyncio.get_running_loop()
    while tasks := lingering(loop):
        await asyncio.wait(tasks)
    await _end_everything_else()
    loop.stop()


def _cancel_lingering(loop: asyncio.AbstractEventLoop) -> None:
    for task in lingering(loop):
        task.cancel()


async def _end_everything_else() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if not tasks:
        return
    _, running = await asyncio.wait(tasks, timeout=_LAST_SECONDS)
    if running:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_LAST_SECONDS)
        await asyncio.sleep(LAST_NEWS_SECONDS)
