"""The peer's status, before and after gRPC has replaced it with that of a failed write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from blindrelay.v1.grpc_workarounds import StatusWatch

Status = tuple[grpc.StatusCode, str]

REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "refused")
WRITE_FAILED = (grpc.StatusCode.INTERNAL, "Internal error from Core")


class Call:
    """The part of a call that StatusWatch uses."""

    def __init__(self) -> None:
        self.ended: list[Callable[[Any], None]] = []
        self.status: Status | None = None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.ended.append(callback)

    async def code(self) -> grpc.StatusCode | None:
        return self.status[0] if self.status else None

    async def details(self) -> str | None:
        return self.status[1] if self.status else None

    def end(self, status: Status) -> None:
        self.status = status
        for callback in self.ended:
            callback(self)


def error(status: Status) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(status[0], grpc.aio.Metadata(), grpc.aio.Metadata(), status[1])


@pytest.fixture(autouse=True)
def a_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindrelay.v1.grpc_workarounds._SECONDS", 3_600)


async def test_known_status_is_returned_at_once() -> None:
    call: Any = Call()
    watch = StatusWatch(call)
    call.end(REFUSED)
    assert await watch.status(error(WRITE_FAILED)) == REFUSED


async def test_status_that_is_under_way_is_waited_for() -> None:
    call: Any = Call()
    watch = StatusWatch(call)
    call.end(WRITE_FAILED)
    waiting = asyncio.create_task(watch.status(error(WRITE_FAILED)))
    await asyncio.sleep(0)
    assert not waiting.done()
    call.end(REFUSED)
    assert await waiting == REFUSED


async def test_other_error_is_returned_as_it_is() -> None:
    call: Any = Call()
    assert await StatusWatch(call).status(error(REFUSED)) == REFUSED
