"""Callers in threads and in trio: they read their request's body while the portal sends it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from blindrelay.client.errors import UnsupportedRuntimeError
from blindrelay.client.portal import Portal, outcome

T = TypeVar("T")

Wanted = Future[Any]
"""The next piece of a body, which the portal waits for."""

Work = Callable[[AsyncIterable[bytes]], Coroutine[Any, Any, T]]
"""What the portal does with a body."""

_END: Final = object()


class _CallersBody:
    """A body that its caller reads, one piece whenever the portal asks for it."""

    def __init__(self, ask: Callable[[Wanted], None]) -> None:
        self._ask = ask

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            wanted = Wanted()
            self._ask(wanted)
            piece = await asyncio.wrap_future(wanted)
            if piece is _END:
                return
            yield piece


def in_trio() -> bool:
    """Whether this runs in trio, and not in asyncio. Raises UnsupportedRuntimeError if it is neither."""
    with suppress(RuntimeError):
        if asyncio.current_task() is not None:  # trio may run as a guest of asyncio, outside its tasks
            return False
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return True
    raise UnsupportedRuntimeError("an event loop that is neither asyncio's nor trio's")


def send_from_thread(portal: Portal, work: Work[T], body: Iterable[bytes]) -> T:
    """Runs the work in the portal and reads the body in this thread. Ctrl-C cancels the work."""
    questions: SimpleQueue[Wanted | None] = SimpleQueue()
    future = portal.begin(work(_CallersBody(questions.put)))
    future.add_done_callback(lambda _: questions.put(None))
    try:
        iterator = iter(body)
        while (wanted := questions.get()) is not None:
            if wanted.set_running_or_notify_cancel():
                try:
                    wanted.set_result(next(iterator, _END))
                except Exception as error:
                    wanted.set_exception(error)
    except BaseException:
        future.cancel()
        raise
    return outcome(future)


async def send_from_trio(portal: Portal, work: Work[T], body: AsyncIterable[bytes]) -> T:
    """Runs the work in the portal and reads the body in this trio task. Cancelling it cancels the work."""
    import trio

    ask, questions = trio.open_memory_channel[Wanted | None](inf)
    in_this_run = trio.lowlevel.current_trio_token().run_sync_soon
    future = portal.begin(work(_CallersBody(lambda wanted: in_this_run(ask.send_nowait, wanted))))
    future.add_done_callback(lambda _: in_this_run(ask.send_nowait, None))
    try:
        iterator = aiter(body)
        while (wanted := await questions.receive()) is not None:
            if wanted.set_running_or_notify_cancel():
                try:
                    wanted.set_result(await anext(iterator, _END))
                except Exception as error:
                    wanted.set_exception(error)
    except BaseException:
        future.cancel()
        raise
    return outcome(future)


async def call_from_trio(portal: Portal, work: Coroutine[Any, Any, T], *, shield: bool = False) -> T:
    """Runs the work in the portal. With `shield`, it continues if this trio task is cancelled."""
    trio: Any = sys.modules["trio"]
    with trio.CancelScope(shield=shield):
        return await send_from_trio(portal, lambda _: work, _nothing())


async def _nothing() -> AsyncIterator[bytes]:
    body: tuple[bytes, ...] = ()
    for piece in body:
        yield piece
