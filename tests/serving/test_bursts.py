"""A burst of calls arrives while the event loop is busy."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import grpc

from blindrelay.serving import STREAMS_PER_RELAY, server_options


async def burst(options: Any) -> Counter[grpc.StatusCode]:
    """How calls end that all arrive before the first can be answered."""

    async def answer(_: bytes, __: Any) -> bytes:
        return b"answer"

    server = grpc.aio.server(options=options)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"C": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a.B", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sent = threading.Event()

    def ask() -> Counter[grpc.StatusCode]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            method: Any = channel.unary_unary("/a.B/C")
            calls = [method.future(b"") for _ in range(STREAMS_PER_RELAY)]
            sent.set()
            return Counter(call.code() for call in calls)

    asking = asyncio.create_task(asyncio.to_thread(ask))
    while not sent.is_set():
        await asyncio.sleep(0)
        time.sleep(0.5)  # noqa: ASYNC251 - the event loop is busy
    time.sleep(1)  # noqa: ASYNC251
    statuses = await asking
    await server.stop(0)
    return statuses


async def test_all_calls_of_a_burst_are_answered() -> None:
    assert await burst(server_options(STREAMS_PER_RELAY)) == {grpc.StatusCode.OK: STREAMS_PER_RELAY}


async def test_with_grpcs_default_limits_some_are_dropped() -> None:
    options = [each for each in server_options(STREAMS_PER_RELAY) if "max_pending" not in each[0]]
    assert (await burst(options))[grpc.StatusCode.OK] < STREAMS_PER_RELAY
