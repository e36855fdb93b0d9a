"""What grpc.aio (1.85) gets wrong, and how relay and client cope with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import grpc

_WRITE_FAILED: Final = (grpc.StatusCode.INTERNAL, "Internal error from Core")
_SECONDS: Final = 10.0
"""Seconds for the call's status, which is on its way when a write fails. A busy machine reads it late."""


class StatusWatch:
    """Remembers the status that the peer of a call sent.

    A peer may end a call while a message is being written to it. Then grpc.aio replaces the peer's status
    with that of the failed write (https://github.com/grpc/grpc/issues/36066), before or after it arrives.
    It also drops the messages that call.read() has not returned yet. Iterating over the call returns them.

    gRPC ends every call with a status: the peer's, or its own if the connection is lost or the deadline has
    passed. So the wait ends with that, and nearly always it is over before it begins. A peer that itself
    sends the status of a failed write makes it last the whole time. It gains nothing: it might as well not
    have ended the call.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._status: tuple[grpc.StatusCode, str | None] | None = None
        self._known: asyncio.Event | None = None
        call.add_done_callback(self._note)

    async def status(self, error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str | None]:
        """The peer's code and details, or those of `error` if no status arrives in time."""
        if self._status is None and (error.code(), error.details()) == _WRITE_FAILED:
            self._known = asyncio.Event()
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._known.wait()
            except TimeoutError:
                pass
        return self._status or (error.code(), error.details())

    def _note(self, call: grpc.aio.Call) -> None:
        status = _now(call.code()), _now(call.details())
        if status != _WRITE_FAILED:
            self._status = status
            if self._known is not None:
                self._known.set()


async def confirm_half_close(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Call this when context.read() has returned EOF. Returns if the client has half-closed the call.

    A cancelled call reads as EOF too, and its handler is cancelled a moment later. C++ has a way to tell the
    two apart (https://github.com/grpc/grpc/pull/26245), and Python has none. A second read returns after the
    cancellation has arrived. Then the handler's task has to run, and it cancels ours. A rare race remains.
    """
    await context.read()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not wait: the call has just received its status."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    return None
