"""A handler's call ends in clear with a status of the closed list only."""

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

both_kinds = pytest.mark.parametrize("method", ["Stream", "Unary"])


@contextlib.asynccontextmanager
async def serving(handler: Any, faults: int = 0) -> AsyncIterator[grpc.aio.Channel]:
    """A server with the guarded handler as both kinds of method. It reports so many internal errors."""
    reported: list[None] = []
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    run = guarded(handler, lambda: reported.append(None))
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
    assert len(reported) == faults


async def failure_of(channel: grpc.aio.Channel, method: str, metadata: Any = ()) -> grpc.aio.AioRpcError:
    kind: Any = channel.unary_unary if method == "Unary" else channel.stream_stream
    call = kind(f"/a.B/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await (call(b"x", metadata=metadata) if method == "Unary" else call(metadata=metadata).read())
    return failure.value


@both_kinds
async def test_exception_becomes_internal_without_its_text(method: str) -> None:
    async def handler(_: Any, context: Any) -> bytes:
        raise ValueError(SECRET)

    async with serving(handler, faults=1) as channel:
        error = await failure_of(channel, method)
    assert (error.code(), error.details()) == OuterStatus.INTERNAL.value
    assert SECRET not in repr(error)


@both_kinds
async def test_refusal_becomes_its_status(method: str) -> None:
    async def handler(_: Any, context: Any) -> bytes:
        raise CallRefusedError(OuterStatus.KEY_UNKNOWN)

    async with serving(handler) as channel:
        error = await failure_of(channel, method)
    assert (error.code(), error.details()) == OuterStatus.KEY_UNKNOWN.value


@both_kinds
async def test_too_much_metadata_is_refused_before_the_handler_runs(method: str) -> None:
    """gRPC accepts it here, as it does from peers that have not acknowledged its own limit."""

    async def handler(_: Any, context: Any) -> bytes:
        return b"admitted"

    large = (("x", "y" * (MAX_METADATA_SIZE - 200)), ("z-bin", b"z" * 200))
    async with serving(handler) as channel:
        error = await failure_of(channel, method, large)
        assert (error.code(), error.details()) == OuterStatus.MALFORMED.value
        unary: Any = channel.unary_unary("/a.B/Unary")
        assert await unary(b"x", metadata=large[:1]) == b"admitted"


async def test_abort_passes() -> None:
    async def handler(_: Any, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "as it is")
        return b""

    async with serving(handler) as channel:
        error = await failure_of(channel, "Unary")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "as it is")


@pytest.mark.parametrize("writing", [False, True], ids=["waiting", "writing"])
async def test_cancelled_call_is_no_internal_error(writing: bool) -> None:
    """A handler that waits is cancelled. One that goes on writing gets an error from gRPC."""
    ended = asyncio.Event()

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

    async with serving(handler) as channel:
        stream: Any = channel.stream_stream("/a.B/Stream")
        call = stream()
        assert await call.read() == b"begun"
        call.cancel()
        async with asyncio.timeout(20):
            await ended.wait()
