"""How far a request may run ahead of its reader, and that a call which nobody reads holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import pytest

from blindrelay.serving import server_options
from blindrelay.v1.grpc_profile import CALL_WINDOW, CHANNEL_OPTIONS
from tests.patience import PATIENCE

MESSAGE: Final = bytes(65_536)
SENT: Final = 64

Context = grpc.aio.ServicerContext[Any, Any]


@asynccontextmanager
async def channel_to_a_server() -> AsyncIterator[grpc.aio.Channel]:
    """One connection to a server whose method "hold" reads nothing, and whose method "echo" answers."""
    server = grpc.aio.server(options=server_options(100))

    async def hold(_: object, context: Context) -> None:
        await context.send_initial_metadata(())
        await asyncio.Event().wait()

    async def echo(message: bytes, _: Context) -> bytes:
        return message

    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "hold": grpc.stream_stream_rpc_method_handler(hold),
        "echo": grpc.unary_unary_rpc_method_handler(echo),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("windows", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
            yield channel
    finally:
        await server.stop(None)


@pytest.mark.parametrize("stalled", [1, 8])
async def test_call_that_nobody_reads_holds_up_no_other(stalled: int) -> None:
    async with asyncio.timeout(PATIENCE), channel_to_a_server() as channel:
        hold: Any = channel.stream_stream("/windows/hold")
        echo: Any = channel.unary_unary("/windows/echo")
        calls = [hold() for _ in range(stalled)]
        written = [0] * stalled
        filled = [asyncio.Event() for _ in calls]

        async def fill(number: int, call: Any) -> None:
            for _ in range(SENT):
                await call.write(MESSAGE)
                written[number] += len(MESSAGE)
                if written[number] >= CALL_WINDOW - len(MESSAGE):
                    filled[number].set()

        writing = [asyncio.create_task(fill(number, call)) for number, call in enumerate(calls)]
        for event in filled:
            await event.wait()  # almost the whole window, which is four times gRPC's own
        for _ in range(SENT):
            assert await echo(MESSAGE) == MESSAGE
        # gRPC counts a message as written when its last bytes have been handed to the connection.
        assert max(written) <= CALL_WINDOW + len(MESSAGE)
        for task, call in zip(writing, calls, strict=True):
            task.cancel()
            call.cancel()
