"""The status that a grpc.aio call really ended with.

When a peer ends a call while a message is being written, grpc.aio (1.85) puts INTERNAL, "Internal error
from Core", for the failed write in place of the peer's status, before that is received or after. What
the peer wrote before is then lost to call.read(); who iterates over the call still gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import grpc

_WRITE_FAILED: Final = (grpc.StatusCode.INTERNAL, "Internal error from Core")
_SECONDS: Final = 1.0
"""The peer's status is on its way when a write fails; a second is many round trips."""


class StatusWatch:
    """Remembers the status that the peer of a call gave, whatever grpc.aio puts over it."""

    def __init__(self, call: grpc.aio.Call) -> None:
        self._status: tuple[grpc.StatusCode, str | None] | None = None
        self._known: asyncio.Event | None = None
        call.add_done_callback(self._note)

    async def status(self, error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str | None]:
        """The peer's code and details; `error`'s own, if the peer gave none within a second."""
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


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has no need to wait: the call has just got its status."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    return None
