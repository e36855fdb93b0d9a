"""A supervisor: a process that starts worker processes, replaces lost ones, and stops them together.

Workers are forked, so the process must not have used gRPC or started a thread. It serves no calls itself.
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
"""From the end of a worker to the start of its replacement."""

READY_SECONDS: Final = 30.0
"""Seconds for a worker to start serving. One that hangs would keep others from being replaced. Its own timer
ends it, because no process in the sandbox can send a signal."""

_SIGNALS: Final = tuple(ORDER_BY_SIGNAL)


@dataclass(frozen=True)
class Worker:
    """The supervisor as a worker sees it: the worker's number, from 0 on, and the socket between them."""

    number: int
    _socket: socket.socket

    def ready(self) -> None:
        """Tells the supervisor that this worker serves, and stops the timer that would have ended it."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        self._socket.send(b".")

    @contextmanager
    def orders_to(self, queue: asyncio.Queue[Order]) -> Iterator[None]:
        """Puts each order to the supervisor into the queue.

        If the supervisor is gone, puts two orders to stop: the worker ends at once and frees the port.
        """
        loop = asyncio.get_running_loop()

        def receive() -> None:
            orders = self._socket.recv(16)
            if not orders:
                loop.remove_reader(self._socket)
            for order in orders or 2 * Order.STOP.value:
                queue.put_nowait(Order(bytes([order])))

        loop.add_reader(self._socket, receive)
        try:
            yield
        finally:
            loop.remove_reader(self._socket)


@dataclass
class _Child:
    pid: int
    socket: socket.socket
    ready: bool = False


class Supervisor:
    """Starts workers one after the other, replaces lost ones, and stops all on SIGTERM or SIGINT.

    It passes SIGHUP on to each. `on_ready` is called once, when all workers serve. `on_lost` is called for
    each worker that ends unexpectedly.
    """

    def __init__(self, count: int, on_ready: Callable[[], None], on_lost: Callable[[], None]) -> None:
        self._count = count
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._children: dict[int, _Child] = {}
        self._complete = False
        self._stopping = False
        self._start_at = 0.0
        self._failure: int | None = None

    def run(self) -> Worker | None:
        """Returns a Worker in each worker as soon as it runs, and None in the supervisor when all have ended.

        A worker ignores SIGTERM, SIGINT and SIGHUP, because a terminal or a service manager sends them to the
        whole process group. Until all workers have served for the first time, raises in the supervisor
        SystemExit with the code of a worker that ended, and OSError if a fork failed. Later it raises
        StartError when no worker is left.
        """
        with _signals() as signals, selectors.DefaultSelector() as self._selector:
            self._selector.register(
                signals, selectors.EVENT_READ, functools.partial(self._on_signal, signals)
            )
            worker = self._supervise()
        if worker is None:
            self._raise_failure()
            return None
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, READY_SECONDS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return worker

    def _supervise(self) -> Worker | None:
        while self._children or not self._stopping:
            if self._needs_worker and time.monotonic() >= self._start_at:
                worker = self._start()
                if worker is not None:
                    return worker
            for key, _ in self._selector.select(self._seconds_until_start()):
                key.data()
        return None

    @property
    def _needs_worker(self) -> bool:
        """Whether to start a worker. They start one at a time, so an error at start is printed once."""
        settled = all(child.ready for child in self._children.values())
        return settled and len(self._children) < self._count and not self._stopping

    def _seconds_until_start(self) -> float | None:
        """Seconds until the next worker is to be started, or None if there is nothing to start."""
        return max(0.0, self._start_at - time.monotonic()) if self._needs_worker else None

    def _start(self) -> Worker | None:
        number = next(number for number in range(self._count) if number not in self._children)
        ours, theirs = socket.socketpair()
        try:
            pid = _fork()
        except OSError:
            ours.close()
            theirs.close()
            if not self._complete:
                raise
            self._start_at = time.monotonic() + RESTART_SECONDS  # the other workers still serve
            return None
        if pid == 0:
            # The other workers' sockets must close with the supervisor, not with this worker.
            for inherited in (ours, *(child.socket for child in self._children.values())):
                inherited.close()
            return Worker(number, theirs)
        theirs.close()
        self._children[number] = _Child(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, functools.partial(self._on_message, number))
        return None

    def _on_message(self, number: int) -> None:
        child = self._children[number]
        if not child.socket.recv(1):
            self._reap(number)
            return
        child.ready = True
        if not self._complete and not self._stopping and len(self._children) == self._count:
            self._complete = True
            self._on_ready()

    def _reap(self, number: int) -> None:
        child = self._children.pop(number)
        self._selector.unregister(child.socket)
        child.socket.close()
        _, status = os.waitpid(child.pid, 0)
        if self._stopping:
            return
        if self._complete:
            with suppress(OSError):  # the log may be closed, and the other workers still serve
                self._on_lost()
            self._start_at = time.monotonic() + RESTART_SECONDS
        if not (self._complete and any(other.ready for other in self._children.values())):
            self._failure = os.waitstatus_to_exitcode(status)
            self._stop()

    def _on_signal(self, signals: socket.socket) -> None:
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
        for child in self._children.values():
            with suppress(OSError):
                child.socket.send(order.value)

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        if not self._complete and self._failure > 0:
            raise SystemExit(self._failure)  # the worker has printed why
        raise StartError("all worker processes have ended")


def _fork() -> int:
    """As os.fork(), but the child has these signals blocked. They would wake the supervisor instead."""
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
    """A socket that receives the number of each handled signal as a byte."""
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    with reading, writing:
        signal.set_wakeup_fd(writing.fileno())
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        # If our parent ignored SIGCHLD, waitpid() could not tell how a worker ended.
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield reading
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(-1)
