"""The life of a gRPC server: start, orders to reread files and to stop, draining."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from typing import Final

import grpc

from blindrelay.serving.admission import Admission
from blindrelay.serving.files import read_files_again

STOP_GRACE: Final = 0.5
"""Seconds for the last statuses to be sent, after the last call has ended or been cancelled."""


class Order(Enum):
    """An order to a running process."""

    STOP = b"."
    REREAD = b"r"


Orders = Callable[[asyncio.Queue[Order]], AbstractContextManager[None]]
"""A context manager that puts each order to the process into the queue."""

ORDER_BY_SIGNAL: Final[Mapping[int, Order]] = {
    signal.SIGTERM: Order.STOP,
    signal.SIGINT: Order.STOP,
    signal.SIGHUP: Order.REREAD,
}
"""The signals that a process handles, and the order that each one is."""


@contextmanager
def orders_by_signal(queue: asyncio.Queue[Order]) -> Iterator[None]:
    """Orders by signal: SIGTERM and SIGINT stop the process, SIGHUP makes it reread its files."""
    loop = asyncio.get_running_loop()
    for number, order in ORDER_BY_SIGNAL.items():
        loop.add_signal_handler(number, queue.put_nowait, order)
    try:
        yield
    finally:
        for number in ORDER_BY_SIGNAL:
            loop.remove_signal_handler(number)


async def serve_until_stopped(
    server: grpc.aio.Server,
    admission: Admission,
    drain_seconds: float,
    *,
    on_ready: Callable[[], None] | None = None,
    on_drain: Callable[[], Awaitable[None]] | None = None,
    rereading: Callable[[], AbstractContextManager[None]] = nullcontext,
    orders: Orders = orders_by_signal,
) -> None:
    """Starts a bound server, waits for an order to stop, drains it and returns.

    While it drains, new calls are refused: `admission` is closed, and the listener stays open so that callers
    get the status. Running calls may finish within `drain_seconds`, and are then cancelled. A second order to
    stop cancels them at once. `on_ready` is called when the server takes calls and orders, and `on_drain`
    when draining begins. On an order to reread, the followed files are read again within `rereading`.
    """
    told: asyncio.Queue[Order] = asyncio.Queue()
    others = asyncio.all_tasks()

    async def told_to_stop() -> None:
        while await told.get() is Order.REREAD:
            with rereading():
                read_files_again()

    with orders(told):
        await server.start()
        if on_ready is not None:
            on_ready()
        await told_to_stop()
        admission.close()
        if on_drain is not None:
            await on_drain()
        await _first_of(admission.idle(), told_to_stop(), timeout=drain_seconds)
        await server.stop(STOP_GRACE)
        # gRPC's tasks for the last calls. If they were cancelled, they would write a traceback to stderr.
        if last := asyncio.all_tasks() - others:
            await asyncio.wait(last, timeout=STOP_GRACE)


async def _first_of(*waits: Awaitable[None], timeout: float) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
