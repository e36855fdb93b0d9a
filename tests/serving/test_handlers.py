"""Nothing leaves a handler in clear but the closed list of statuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from blindrelay.serving import CallRefusedError, guarded
from blindrelay.serving.options import MAX_METADATA_SIZE
from blindrelay.v1.outer_status import OuterStatus

SECRET = "canary 10.1.2.3"


@contextlib.asynccontextmanager
async def serving(handler: Any, faults: list[None]) -> AsyncIterator[grpc.aio.Channel]:
    """A server with the handler, guarded, as a streaming and as a unary method."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    run = guarded(handler, lambda: faults.append(None))
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Stream": grpc.stream_stream_rpc_method_handler(run),
        "Unary": grpc.unary_unary_rpc_method_handler(run),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


async def failure_of(channel: grpc.aio.Channel, method: str) -> grpc.aio.AioRpcError:
    kind: Any = channel.unary_unary if method == "Unary" else channel.stream_stream
    call = kind(f"/a.B/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await (call(b"x") if method == "Unary" else call().read())
    return failure.value


@pytest.mark.parametrize("method", ["Stream", "Unary"])
async def test_an_exception_becomes_internal_without_its_text(method: str) -> None:
    async def handler(_: Any, context: Any) -> bytes:
        raise ValueError(SECRET)

    faults: list[None] = []
    async with serving(handler, faults) as channel:
        error = await failure_of(channel, method)
    assert (error.code(), error.details()) == OuterStatus.INTERNAL.value
    assert SECRET not in repr(error)
    assert len(faults) == 1


@pytest.mark.parametrize("method", ["Stream", "Unary"])
@pytest.mark.parametrize("status", list(OuterStatus))
async def test_a_refusal_becomes_its_status(method: str, status: OuterStatus) -> None:
    async def handler(_: Any, context: Any) -> bytes:
        raise CallRefusedError(status)

    faults: list[None] = []
    async with serving(handler, faults) as channel:
        error = await failure_of(channel, method)
    assert (error.code(), error.details()) == status.value
    assert faults == []


@pytest.mark.parametrize("method", ["Stream", "Unary"])
async def test_more_metadata_than_allowed_is_refused_before_the_handler_runs(method: str) -> None:
    """gRPC lets it pass here, as it does for peers that have not acknowledged its own limit."""

    async def handler(_: Any, context: Any) -> bytes:
        return b"admitted"

    async with serving(handler, []) as channel:
        kind: Any = channel.unary_unary if method == "Unary" else channel.stream_unary
        call = kind(f"/a.B/{method}")
        large = (("x", "y" * (MAX_METADATA_SIZE - 200)), ("z-bin", b"z" * 200))
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(b"x" if method == "Unary" else iter([b"x"]), metadata=large)
        assert (failure.value.code(), failure.value.details()) == OuterStatus.MALFORMED.value
        if method == "Unary":
            assert await call(b"x", metadata=large[:1]) == b"admitted"


async def test_an_abort_passes() -> None:
    async def handler(_: Any, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "as it is")
        return b""

    faults: list[None] = []
    async with serving(handler, faults) as channel:
        error = await failure_of(channel, "Unary")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "as it is")
    assert faults == []


async def test_cancellation_passes_and_is_no_fault() -> None:
    cancelled = asyncio.Event()

    async def handler(_: Any, context: Any) -> bytes:
        try:
            await context.write(b"begun")
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return b""

    faults: list[None] = []
    async with serving(handler, faults) as channel:
        stream: Any = channel.stream_stream("/a.B/Stream")
        call = stream()
        assert await call.read() == b"begun"
        call.cancel()
        async with asyncio.timeout(20):
            await cancelled.wait()
    assert faults == []


async def test_a_peer_that_is_gone_is_no_fault() -> None:
    ended = asyncio.Event()

    async def handler(_: Any, context: Any) -> bytes:
        try:
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await context.write(bytes(1_000))
        finally:
            ended.set()

    faults: list[None] = []
    async with serving(handler, faults) as channel:
        stream: Any = channel.stream_stream("/a.B/Stream")
        call = stream()
        await call.read()
        call.cancel()
        async with asyncio.timeout(20):
            await ended.wait()
    assert faults == []
