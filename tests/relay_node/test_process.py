"""The relay as a process: what it writes, its signals and its end."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import grpc
import pytest

from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RelayTls, StartProcess
from tests.relay_node.fake_bridge import FakeBridge, cancelled, until
from tests.relay_node.raw_client import Client, finish, refusal

LIFE = {"started", "replica_up", "replica_down", "exchanges", "draining", "stopped"}


async def test_it_writes_only_its_audit_log(
    start_process: StartProcess, bridge: FakeBridge, relay_tls: RelayTls
) -> None:
    """Whatever gRPC would say about junk, and about calls that end badly."""
    table, credentials = relay_tls
    process = await start_process(tls=table, GRPC_VERBOSITY="DEBUG", GRPC_TRACE="all")
    with socket.create_connection(("127.0.0.1", int(process.address.rpartition(":")[2]))) as junk:
        junk.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await asyncio.to_thread(junk.recv, 1_000)
    for _ in range(3):
        client = Client(process.address, process.token, credentials)
        calls = [await client.open(bridge.envelope()) for _ in range(12)]
        for call in calls[::3]:
            call.cancel()
        await client.channel.close()
    await bridge.stop()
    client = Client(process.address, process.token, credentials)
    assert await refusal(client.exchange(bridge.envelope())) is OuterStatus.BRIDGE_UNAVAILABLE
    await client.channel.close()
    assert await process.end() == 0
    events = [line["event"] for line in process.lines]
    assert events[-3:] == ["draining", "exchanges", "stopped"]
    assert set(events) <= LIFE
    counts = [line.get("outcomes", {}) for line in process.lines]
    assert {outcome for each in counts for outcome in each} <= {"ok", "cancelled", "bridge_unavailable"}
    assert any(each.get("cancelled", 0) > 10 for each in counts)


async def test_sighup_rereads_the_files_and_ends_no_call(
    start_process: StartProcess, bridge: FakeBridge, tmp_path: Path
) -> None:
    process = await start_process()
    call = await process.client.open(bridge.envelope())
    process.popen.send_signal(signal.SIGHUP)
    await until(lambda: process.count("reread") == 1)
    await finish(call)
    (tmp_path / "tokens").write_text("broken")
    process.popen.send_signal(signal.SIGHUP)
    await until(lambda: process.count("reread") == 2)
    assert await process.end() == 0
    assert process.count("tokens_unreadable") == 1, "noticed without a call"


@pytest.mark.parametrize(("signals", "drain"), [(1, 1), (2, 3_600)])
async def test_call_that_outlasts_the_drain_is_cancelled(
    start_process: StartProcess, bridge: FakeBridge, signals: int, drain: int
) -> None:
    process = await start_process(f"drain_seconds = {drain}")
    call = await process.client.open(bridge.envelope())
    for _ in range(signals):
        process.popen.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await process.popen.wait() == 0
    await cancelled(bridge.seen[0])
