"""The outer statuses: a closed list, which gRPC replaces if a write fails at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from blindrelay.v1.grpc_workarounds import StatusWatch
from blindrelay.v1.outer_status import OuterStatus

# As in spec/protocol.md, section 12.
LISTED = {
    "refused": grpc.StatusCode.INVALID_ARGUMENT,
    "key_unknown": grpc.StatusCode.FAILED_PRECONDITION,
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "token_unknown": grpc.StatusCode.UNAUTHENTICATED,
    "identity_unknown": grpc.StatusCode.NOT_FOUND,
    "bridge_unavailable": grpc.StatusCode.UNAVAILABLE,
    "draining": grpc.StatusCode.UNAVAILABLE,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "deadline": grpc.StatusCode.DEADLINE_EXCEEDED,
    "internal": grpc.StatusCode.INTERNAL,
}


def test_list_is_that_of_the_specification() -> None:
    assert {status.details: status.code for status in OuterStatus} == LISTED
    assert len(LISTED) == len(OuterStatus)


@pytest.mark.parametrize("status", OuterStatus)
def test_status_is_recognised_by_code_and_message_together(status: OuterStatus) -> None:
    other_words = (None, "", status.details.title(), f"{status.details} ", f"{status.details}: bad tag")
    for code in grpc.StatusCode:
        assert OuterStatus.of(code, status.details) is (status if code is status.code else None)
        assert {OuterStatus.of(code, words) for words in other_words} == {None}


Status = tuple[grpc.StatusCode, str]

REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "refused")
WRITE_FAILED = (grpc.StatusCode.INTERNAL, "Internal error from Core")


class Call:
    """The part of a call that StatusWatch uses."""

    def __init__(self) -> None:
        self.ended: list[Callable[[Any], None]] = []
        self.status: Status | tuple[None, None] = (None, None)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.ended.append(callback)

    async def code(self) -> grpc.StatusCode | None:
        return self.status[0]

    async def details(self) -> str | None:
        return self.status[1]

    def end(self, status: Status) -> None:
        self.status = status
        for callback in self.ended:
            callback(self)


def error(status: Status) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(status[0], grpc.aio.Metadata(), grpc.aio.Metadata(), status[1])


@pytest.mark.parametrize("first", [REFUSED, WRITE_FAILED])
async def test_status_is_waited_for_if_it_is_under_way(
    first: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.v1.grpc_workarounds._SECONDS", 3_600)
    call: Any = Call()
    watch = StatusWatch(call)
    assert await watch.status(error(REFUSED)) == REFUSED, "another error is returned as it is"
    call.end(first)
    waiting = asyncio.create_task(watch.status(error(WRITE_FAILED)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert waiting.done() is (first is REFUSED)
    call.end(REFUSED)
    assert await waiting == REFUSED
