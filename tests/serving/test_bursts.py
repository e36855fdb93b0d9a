"""Many calls at once, while the event loop is busy with something else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import grpc

from blindrelay.serving import STREAMS_PER_RELAY, server_options

CALLS = STREAMS_PER_RELAY
METHOD = "/test.Burst/Response"


async def answered(options: Any) -> Counter[grpc.StatusCode]:
    """How calls end that all come before the first can be answered."""

    async def answer(_: bytes, __: Any) -> bytes:
        return b"answer"

    server = grpc.aio.server(options=options)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Response": grpc.unary_unary_rpc_method_handler(answer)
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Burst", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sent = threading.Event()

    def ask() -> Counter[grpc.StatusCode]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            method: Any = channel.unary_unary(METHOD)
            calls = [method.future(b"") for _ in range(CALLS)]
            sent.set()
            return Counter(call.code() for call in calls)

    asking = asyncio.create_task(asyncio.to_thread(ask))
    while not sent.is_set():
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 (this is what is tested)
    time.sleep(1)  # noqa: ASYNC251
    counted = await asking
    await server.stop(0)
    return counted


async def test_all_are_answered() -> None:
    assert await answered(server_options(STREAMS_PER_RELAY)) == {grpc.StatusCode.OK: CALLS}


async def test_with_grpcs_own_limits_some_are_cut_off() -> None:
    options = [each for each in server_options(STREAMS_PER_RELAY) if "max_pending" not in each[0]]
    assert (await answered(options))[grpc.StatusCode.OK] < CALLS
