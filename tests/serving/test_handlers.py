"""How many calls run at once, and that each ends in clear with a status of the closed list only."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest

from blindrelay.serving import Admission, CallRefusedError, Shares, guarded
from blindrelay.serving.options import MAX_METADATA_SIZE
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE
from tests.serving.echo_server import STREAM, UNARY, echo, listening

SECRET = "canary 10.1.2.3"
NO_LIMITS = (("grpc.so_reuseport", 0),)


both_kinds = pytest.mark.parametrize("method", [STREAM, UNARY])


async def called(address: str, method: str, metadata: Any = ()) -> bytes:
    """The response. For a client, all kinds of method are the same.

    The request leaves in one gRPC batch: a later write could fail because the call has ended by then, and
    gRPC would replace the server's status by that of the write.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.unary_stream(method)
        response: bytes = await call(b"x", metadata=metadata).read()
        return response


@both_kinds
@pytest.mark.parametrize(
    ("ends", "status", "faults"),
    [
        (ValueError(SECRET), OuterStatus.INTERNAL.value, 1),
        (CallRefusedError(OuterStatus.KEY_UNKNOWN), OuterStatus.KEY_UNKNOWN.value, 0),
        ((grpc.StatusCode.NOT_FOUND, "as it is"), (grpc.StatusCode.NOT_FOUND, "as it is"), 0),
    ],
)
async def test_call_ends_with_a_constant_status(method: str, ends: Any, status: Any, faults: int) -> None:
    async def handler(_: Any, context: Any) -> None:
        if isinstance(ends, Exception):
            raise ends
        await context.abort(*ends)

    reported: list[None] = []
    guard = guarded(handler, lambda: reported.append(None))
    async with listening(handler=guard, options=NO_LIMITS) as address:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await called(address, method)
    assert (failure.value.code(), failure.value.details()) == status
    assert SECRET not in repr(failure.value)
    assert len(reported) == faults


@both_kinds
async def test_too_much_metadata_is_refused_before_the_handler_runs(method: str) -> None:
    """gRPC accepts it here, as it does from peers that have not acknowledged its own limit."""
    large = (("x", "y" * (MAX_METADATA_SIZE - 200)), ("z-bin", b"z" * 200))
    async with listening(handler=guarded(echo), options=NO_LIMITS) as address:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await called(address, method, large)
        assert (failure.value.code(), failure.value.details()) == OuterStatus.MALFORMED.value
        assert await called(address, UNARY, large[:1]) == b"x"


@pytest.mark.parametrize("writing", [False, True], ids=["waiting", "writing"])
async def test_cancelled_call_is_no_internal_error(writing: bool) -> None:
    """A handler that waits is cancelled. One that goes on writing gets an error from gRPC."""
    ended = asyncio.Event()
    reported: list[None] = []

    async def handler(_: Any, context: Any) -> bytes:
        try:
            await context.write(b"begun")
            if not writing:
                await asyncio.sleep(3_600)
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await context.write(bytes(1_000))
        finally:
            ended.set()

    guard = guarded(handler, lambda: reported.append(None))
    async with listening(handler=guard, options=NO_LIMITS) as address:
        assert await called(address, STREAM) == b"begun", "and leaves"
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    assert reported == []


@contextmanager
def refused(status: OuterStatus) -> Iterator[None]:
    with pytest.raises(CallRefusedError) as refusal:
        yield
    assert refusal.value.status is status


def test_no_more_than_the_limit_run_at_once() -> None:
    admission = Admission(2)
    with admission.admit():
        with admission.admit(), refused(OuterStatus.OVERLOADED), admission.admit():
            pass
        with pytest.raises(ValueError, match="x"), admission.admit():
            raise ValueError("x")
        assert admission.running == 1
    assert admission.running == 0


async def test_closed_admission_refuses_calls_and_waits_for_running_ones() -> None:
    admission = Admission(5)
    await admission.idle()
    with admission.admit():
        admission.close()
        assert admission.draining
        idle = asyncio.create_task(admission.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        with refused(OuterStatus.DRAINING), admission.admit():
            pass
    await idle


async def test_admission_is_not_idle_while_calls_keep_coming() -> None:
    admission = Admission(1, quiet_seconds=0.2)
    admission.close()
    began = time.monotonic()
    for _ in range(3):
        with admission.admit(draining=True):
            await asyncio.sleep(0)
    await admission.idle()
    assert time.monotonic() - began >= 0.2


def test_holder_gets_no_more_than_is_left_free() -> None:
    shares = Shares(9)
    for _ in range(2):  # everything is given back
        with ExitStack() as stack:
            for holder, expected in (("greedy", 5), ("next", 2), ("last", 1)):
                for _ in range(expected):
                    stack.enter_context(shares.hold(holder))
                with refused(OuterStatus.OVERLOADED), shares.hold(holder):
                    pass


def test_holder_gets_no_more_than_its_fixed_bound() -> None:
    shares = Shares(100, each=10)
    with shares.share_of("one") as share, shares.share_of("one") as more:
        share.add(6)
        with refused(OuterStatus.OVERLOADED):
            more.add(5)
        more.add(4)
        share.release()
        more.add(6)
