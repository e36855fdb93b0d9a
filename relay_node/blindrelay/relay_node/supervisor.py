"""The process that keeps a number of others going, and stops them together.

Workers are forked, so the process must not have used gRPC, nor started a thread. It serves nothing itself.
"""

from __future__ import annotations

import asyncio
import functools
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from blindrelay.serving import ORDER_BY_SIGNAL, Order, StartError

RESTART_SECONDS: Final = 1.0
"""From the end of a worker to the start of the one in its place."""

READY_SECONDS: Final = 30.0
"""For a worker to serve: one that hangs on its files would keep the others from being replaced. Its own alarm
clock ends it, since nobody in the sandbox can send a signal."""

_SIGNALS: Final = tuple(ORDER_BY_SIGNAL)


@dataclass(frozen=True)
class Post:
    """What a worker has of its supervisor: a number from 0 on, and a line on which it is given orders."""

    number: int
    _line: socket.socket

    def ready(self) -> None:
        """Tells the supervisor that this worker serves, and stops the clock that would have ended it."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._line.send(b".")

    @contextmanager
    def orders_to(self, queue: asyncio.Queue[Order]) -> Iterator[None]:
        """Puts each order that the supervisor is given into the queue.

        Two to stop if the supervisor is gone: a worker without one ends at once, and leaves the port to the
        next.
        """
        loop = asyncio.get_running_loop()

        def heed() -> None:
            orders = self._line.recv(16)
            if not orders:
                loop.remove_reader(self._line)
            for order in orders or 2 * Order.STOP.value:
                queue.put_nowait(Order(bytes([order])))

        loop.add_reader(self._line, heed)
        try:
            yield
        finally:
            loop.remove_reader(self._line)


@dataclass
class _Worker:
    pid: int
    line: socket.socket
    ready: bool = False


class Supervisor:
    """Starts workers one after the other, replaces those that end, and stops them on SIGTERM or SIGINT.

    SIGHUP is passed on to each.

    `on_ready` is called once, when all serve; `on_lost` for each that ended without being told.
    """

    def __init__(self, count: int, on_ready: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._count = count
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._workers: dict[int, _Worker] = {}
        self._complete = False
        self._stopping = False
        self._start_at = 0.0
        self._failure: int | None = None

    def run(self) -> Post | None:
        """In each worker, returns its post as soon as it runs; in the supervisor, None when all have ended.

        A worker ignores SIGTERM, SIGINT and SIGHUP: a terminal or a service manager sends them to all
        processes of a group at once. Raises, in the supervisor, SystemExit with the code of a worker that
        ended before all served the first time, OSError if one could not be forked then, and StartError if
        later none is left.
        """
        with _signals() as signals, selectors.DefaultSelector() as self._selector:
            self._selector.register(signals, selectors.EVENT_READ, functools.partial(self._heed, signals))
            post = self._keep_going()
        if post is None:
            self._report()
            return None
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, READY_SECONDS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return post

    def _keep_going(self) -> Post | None:
        while self._workers or not self._stopping:
            if self._wants_one and time.monotonic() >= self._start_at:
                post = self._start()
                if post is not None:
                    return post
            for key, _ in self._selector.select(self._patience()):
                key.data()
        return None

    @property
    def _wants_one(self) -> bool:
        """Whether one is missing; never two at once, so that what is wrong with the start is said once."""
        settled = all(worker.ready for worker in self._workers.values())
        return settled and len(self._workers) < self._count and not self._stopping

    def _patience(self) -> float | None:
        """Seconds until a worker is to be started; None if none is missing."""
        return max(0.0, self._start_at - time.monotonic()) if self._wants_one else None

    def _start(self) -> Post | None:
        number = next(number for number in range(self._count) if number not in self._workers)
        ours, theirs = socket.socketpair()
        try:
            pid = _fork()
        except OSError:
            ours.close()
            theirs.close()
            if not self._complete:
                raise
            self._start_at = time.monotonic() + RESTART_SECONDS  # the others serve on
            return None
        if pid == 0:
            # The other workers' lines must end with the supervisor, and not with us.
            for line in (ours, *(worker.line for worker in self._workers.values())):
                line.close()
            return Post(number, theirs)
        theirs.close()
        self._workers[number] = _Worker(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, functools.partial(self._listen, number))
        return None

    def _listen(self, number: int) -> None:
        worker = self._workers[number]
        if not worker.line.recv(1):
            self._bury(number)
            return
        worker.ready = True
        if not self._complete and not self._stopping and len(self._workers) == self._count:
            self._complete = True
            self._on_ready()

    def _bury(self, number: int) -> None:
        worker = self._workers.pop(number)
        self._selector.unregister(worker.line)
        worker.line.close()
        _, status = os.waitpid(worker.pid, 0)
        if self._stopping:
            return
        if self._complete:
            with suppress(OSError):  # nobody may read what it writes, and the others serve on
                self._on_lost()
            self._start_at = time.monotonic() + RESTART_SECONDS
        if not (self._complete and any(other.ready for other in self._workers.values())):
            self._failure = os.waitstatus_to_exitcode(status)
            self._stop()

    def _heed(self, signals: socket.socket) -> None:
        for number in signals.recv(64):
            order = ORDER_BY_SIGNAL.get(number)
            if order is Order.STOP:
                self._stop()
            elif order is not None:
                self._order(order)

    def _stop(self) -> None:
        self._stopping = True
        self._order(Order.STOP)

    def _order(self, order: Order) -> None:
        for worker in self._workers.values():
            with suppress(OSError):
                worker.line.send(order.value)

    def _report(self) -> None:
        if self._failure is None:
            return
        if not self._complete and self._failure > 0:
            raise SystemExit(self._failure)  # the worker has said why
        raise StartError("no worker process is left")


def _fork() -> int:
    """As os.fork(); in the child these signals are blocked: they would be told to the supervisor."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    return pid


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that gets the number of each signal that says what to do, as a byte."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    with reading, writing:
        signal.set_wakeup_fd(writing.fileno())
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        # Ignored by whoever started us, it would take from us how a worker ended.
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield reading
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
