"""gRPC's options have the intended effect."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import grpc
import pytest

from blindrelay.relay_node.replica import REFRESH_SECONDS
from blindrelay.serving import CLIENT_IDLE_SECONDS, STREAMS_PER_CLIENT, STREAMS_PER_RELAY, server_options
from blindrelay.v1.limits import DEADLINE_SECONDS
from tests.serving.echo_server import UNARY, echo, serving

OPTIONS = dict(server_options(STREAMS_PER_CLIENT))


def test_connections_last_as_long_as_they_are_needed() -> None:
    """Those of a client close first, and the longest exchange can finish on a connection that is renewed."""
    options = dict(server_options(STREAMS_PER_CLIENT, CLIENT_IDLE_SECONDS))
    assert options["grpc.max_connection_idle_ms"] == 30_000
    assert OPTIONS["grpc.max_connection_idle_ms"] > REFRESH_SECONDS * 1_000
    assert OPTIONS["grpc.max_connection_age_grace_ms"] >= (DEADLINE_SECONDS[-1] + 60) * 1_000


@pytest.mark.parametrize("ours", [True, False], ids=["with our limits", "with gRPC's own"])
async def test_all_calls_of_a_burst_are_answered(ours: bool) -> None:
    """gRPC's own limits drop some, so the burst is really one."""
    sent = threading.Event()

    def ask(port: int) -> Counter[grpc.StatusCode]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            method: Any = channel.unary_unary(UNARY)
            calls = [method.future(b"") for _ in range(STREAMS_PER_RELAY)]
            sent.set()
            return Counter(call.code() for call in calls)

    options = [each for each in server_options(STREAMS_PER_RELAY) if ours or "max_pending" not in each[0]]
    async with serving(echo, options) as port:
        asking = asyncio.create_task(asyncio.to_thread(ask, port))
        while not sent.is_set():
            await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251 - the event loop is busy
        time.sleep(1)  # noqa: ASYNC251
        statuses = await asking
    assert (statuses == {grpc.StatusCode.OK: STREAMS_PER_RELAY}) is ours
