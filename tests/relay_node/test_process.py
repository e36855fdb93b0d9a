"""The relay as a process: its life, its end, its memory, and what it does not import."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RelayTls, StartProcess
from tests.relay_node.fake_bridge import FakeBridge, Seen, cancelled
from tests.relay_node.raw_client import Client, finish, refusal

LIFE = {"started", "replica_up", "exchanges", "draining", "stopped"}

# Importing any of these raises in a relay that is started with this on its path.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        for blocked in ("nacl", "cryptography", "httpx", "httpx2", "blindrelay.sealing", "blindrelay.client"):
            if name == blocked or name.startswith(blocked + "."):
                raise ImportError(f"{name} is blocked")
        return None

sys.meta_path.insert(0, Blocker())
"""


async def test_it_writes_only_its_audit_log(
    start_process: StartProcess, bridge: FakeBridge, relay_tls: RelayTls
) -> None:
    """Whatever gRPC would say about calls, or about junk."""
    process = await start_process(tls=relay_tls.table, GRPC_VERBOSITY="DEBUG", GRPC_TRACE="all")
    with socket.create_connection(("127.0.0.1", int(process.address.rpartition(":")[2]))) as junk:
        junk.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await asyncio.to_thread(junk.recv, 1_000)
    client = Client(process.address, process.token, relay_tls.credentials)
    assert await client.exchange(bridge.envelope()) == [b"hello"]
    await client.channel.close()
    assert await process.end() == 0
    events = [line["event"] for line in process.lines]
    assert events[-3:] == ["draining", "exchanges", "stopped"]
    assert set(events) == LIFE


async def test_sighup_rereads_the_files_and_ends_no_call(
    start_process: StartProcess, bridge: FakeBridge, tmp_path: Path
) -> None:
    process = await start_process()
    call = await process.client.open(bridge.envelope())
    process.popen.send_signal(signal.SIGHUP)
    await process.wrote("reread", 1)
    await finish(call)
    (tmp_path / "tokens").write_text("broken")
    process.popen.send_signal(signal.SIGHUP)
    await process.wrote("reread", 2)
    assert await process.end() == 0
    assert process.count("tokens_unreadable") == 1, "noticed without a call"


async def test_it_needs_no_cryptography(
    start_process: StartProcess, bridge: FakeBridge, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    process = await start_process(PYTHONPATH=str(tmp_path))
    assert await process.client.exchange(bridge.envelope()) == [b"hello"]
    assert len(await process.client.directories()) == 1
    blocked = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import nacl"),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert b"nacl is blocked" in (await blocked.communicate())[1]


async def test_draining_refuses_new_calls_and_lets_running_ones_finish(
    start_process: StartProcess, bridge: FakeBridge
) -> None:
    process = await start_process()
    call = await process.client.open(bridge.envelope())
    process.popen.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    assert await refusal(process.client.exchange(bridge.envelope())) is OuterStatus.DRAINING
    assert await refusal(process.client.directories()) is OuterStatus.DRAINING
    await finish(call)
    assert await process.ended() == 0


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
    assert await process.ended() == 0
    await cancelled(bridge.seen[0])


async def test_broken_calls_leave_only_counts(start_process: StartProcess, bridge: FakeBridge) -> None:
    process = await start_process()
    for _ in range(3):
        client = Client(process.address, process.token)
        calls = [await client.open(bridge.envelope()) for _ in range(12)]
        for call in calls[::3]:
            call.cancel()
        await client.channel.close()
    await bridge.stop()
    assert await refusal(process.client.exchange(bridge.envelope())) is OuterStatus.BRIDGE_UNAVAILABLE
    assert await process.end() == 0
    counts = [line.get("outcomes", {}) for line in process.lines]
    assert {outcome for each in counts for outcome in each} <= {"ok", "cancelled", "bridge_unavailable"}
    assert any(each.get("cancelled", 0) > 10 for each in counts)


PIECE = os.urandom(65_536)


async def test_memory_is_bounded(start_process: StartProcess, bridge: FakeBridge) -> None:
    """One client reads 64 MiB. Then 20 clients stop reading what would be 64 MiB each."""
    written = 0

    async def send_64_mib(context: Any, seen: Seen) -> None:
        nonlocal written
        await context.read()
        for _ in range(1_024):
            await context.write(PIECE)
            written += len(PIECE)

    process = await start_process()
    await process.client.exchange(bridge.envelope())
    before = process.peak_memory()
    bridge.script = send_64_mib
    assert await process.client.exchange(bridge.envelope()) == [PIECE] * 1_024
    assert process.peak_memory() - before < 16 * 1_048_576
    readers, written = 20, 0
    calls = [process.client.call(bridge.envelope()) for _ in range(readers)]
    for call in calls:
        await call.write(b"x")
        assert await call.read() == PIECE
    last = -1
    while written != last:
        last = written
        await asyncio.sleep(0.5)
    assert written < readers * 4 * 1_048_576
    assert process.peak_memory() - before < readers * 1_048_576 + 16 * 1_048_576
    for call in calls:
        call.cancel()
