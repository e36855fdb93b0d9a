"""A relay as a process, or as several on one port: what it writes, its signals, its end, lost workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from blindrelay.testbed.ports import free_port
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, until
from tests.relay_node.conftest import RelayTls, StartProcess
from tests.relay_node.fake_bridge import FakeBridge, Seen, cancelled
from tests.relay_node.fake_ledger import FakeLedger
from tests.relay_node.raw_client import CONFIG, RELAY, Client, RelayProcess, alive, finish, refusal, scrape

LIFE = {"started", "replica_up", "replica_down", "exchanges", "draining", "stopped"}


async def test_it_writes_only_its_audit_log(
    start_process: StartProcess, bridge: FakeBridge, relay_tls: RelayTls
) -> None:
    """Whatever gRPC would say about junk, and about calls that end badly."""
    table, credentials = relay_tls
    process = await start_process(tls=table, GRPC_VERBOSITY="DEBUG", GRPC_TRACE="all")
    with socket.create_connection(("127.0.0.1", int(process.address.rpartition(":")[2]))) as junk:
        junk.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        with suppress(ConnectionError):
            await asyncio.to_thread(junk.recv, 1_000)
    for _ in range(3):
        client = Client(process.address, process.token, credentials)
        calls = [await client.open(bridge.envelope()) for _ in range(12)]
        for call in calls[::3]:
            call.cancel()
        await client.channel.close()
    await bridge.stop()
    await until(lambda: process.count("replica_down") == 1)
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
    await until(lambda: process.count("tokens_unreadable") == 1)  # noticed without a call
    assert await process.end() == 0
    assert (process.count("reread"), process.count("tokens_unreadable")) == (2, 1)


@pytest.mark.parametrize(("signals", "drain"), [(1, 1), (2, 3_600)])
async def test_call_that_outlasts_the_drain_is_cancelled(
    start_process: StartProcess, bridge: FakeBridge, signals: int, drain: int
) -> None:
    process = await start_process(f"drain_seconds = {drain}")
    call = await process.client.open(bridge.envelope())
    for _ in range(signals):
        process.popen.send_signal(signal.SIGINT)
        await until(lambda: process.count("draining") == 1)  # two pending signals would be one
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await process.popen.wait() == 0
    await cancelled(bridge.seen[0])


CONNECTIONS = 32
"""The kernel distributes them. One of two workers gets fewer than two once in sixty million times."""


@asynccontextmanager
async def connections(
    relay: RelayProcess, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[list[Client]]:
    """Clients with a connection each."""
    async with AsyncExitStack() as stack:
        clients = [Client(relay.address, relay.token, credentials) for _ in range(CONNECTIONS)]
        for client in clients:
            stack.push_async_callback(client.channel.close)
        yield clients


async def all_serve(clients: list[Client], bridge: FakeBridge) -> None:
    for client in clients:
        assert await client.exchange(bridge.envelope()) == [b"hello"]
        assert len(await client.directories()) == 1


async def test_every_worker_serves_and_all_end_on_sigterm(
    start_process: StartProcess, bridge: FakeBridge, relay_tls: RelayTls
) -> None:
    """Each with the certificate, and with its own metrics."""
    first = free_port(2)
    table, credentials = relay_tls
    relay = await start_process(f'metrics = "127.0.0.1:{first}"', workers=2, tls=table)
    async with connections(relay, credentials) as clients:
        await all_serve(clients, bridge)
        relay.popen.send_signal(signal.SIGHUP)
        await until(lambda: relay.count("reread") == 2)
        await all_serve(clients, bridge)
        for port in (first, first + 1):
            assert (await scrape(port))["replicas"] == 1
        pids = relay.workers()
        assert await relay.end() == 0
    assert len(pids) == 2
    assert not any(map(alive, pids))
    assert [relay.count(event) for event in ("started", "draining", "stopped")] == [2, 2, 2]
    assert relay.count("worker_lost") == 0
    assert relay.count("exchanges") >= 2, "each worker reports at its end"


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to the supervisor", "to the group"])
async def test_all_workers_drain(
    start_process: StartProcess, bridge: FakeBridge, send: Callable[[int, int], None]
) -> None:
    """A terminal's Ctrl-C reaches every process of the group. It is one order, not two."""
    relay = await start_process("drain_seconds = 3600", workers=2)
    async with connections(relay) as clients:
        calls = [await client.open(bridge.envelope()) for client in clients]
        send(relay.popen.pid, signal.SIGINT)
        await until(lambda: relay.count("draining") == 2)
        for client in clients:
            assert await refusal(client.exchange(bridge.envelope())) is OuterStatus.DRAINING
            assert await refusal(client.directories()) is OuterStatus.DRAINING
        await asyncio.gather(*map(finish, calls))
        assert await relay.popen.wait() == 0


async def test_second_signal_ends_all_workers(start_process: StartProcess, bridge: FakeBridge) -> None:
    relay = await start_process("drain_seconds = 3600", workers=2)
    async with connections(relay) as clients:
        calls = [await client.open(bridge.envelope()) for client in clients]
        relay.popen.send_signal(signal.SIGTERM)
        await until(lambda: relay.count("draining") == 2)
        assert await relay.end() == 0
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError):
                await call.read()


async def test_lost_worker_is_replaced_and_the_others_continue(
    start_process: StartProcess, bridge: FakeBridge
) -> None:
    """Without any, or without their supervisor, all end."""
    relay = await start_process("drain_seconds = 3600", workers=2)
    async with connections(relay) as clients:
        calls = [await client.open(bridge.envelope()) for client in clients]
        victim, other = relay.workers()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: relay.count("started") == 3)
        assert relay.count("worker_lost") == 1
        assert victim not in relay.workers()
        assert other in relay.workers()
        lost = 0
        for call in calls:
            try:
                await finish(call)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                lost += 1
        assert 0 < lost < CONNECTIONS
        await all_serve(clients, bridge)
        for client in clients:
            await client.open(bridge.envelope())
        pids = relay.workers()
        relay.popen.kill()
        await until(lambda: not any(map(alive, pids)))


async def test_supervisor_ends_when_no_worker_is_left(start_process: StartProcess) -> None:
    relay = await start_process(workers=2)
    relay.popen.send_signal(signal.SIGSTOP)  # it would replace the first before the second is killed
    for pid in relay.workers():
        os.kill(pid, signal.SIGKILL)
    relay.popen.send_signal(signal.SIGCONT)
    assert await relay.popen.wait() == 1


async def test_workers_share_the_limit_of_exchanges(start_process: StartProcess, bridge: FakeBridge) -> None:
    """All clients have one token, which gets half of each worker's part."""
    full = asyncio.Event()

    async def hold(context: Any, _: Seen) -> None:
        await full.wait()
        await context.write(await context.read())

    bridge.script = hold
    relay = await start_process("max_exchanges = 6", workers=2)
    async with connections(relay) as clients:
        calls = [asyncio.ensure_future(client.exchange(bridge.envelope())) for client in clients]
        await until(lambda: sum(call.done() for call in calls) == CONNECTIONS - 4)
        full.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result.details() for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert results.count([b"hello"]) == 4
    assert refused == ["overloaded"] * (CONNECTIONS - 4)


def refuses(port: int | str, workers: str, folder: Path) -> None:
    """Starts a relay on a port that is taken: one line, and exit code 1."""
    (folder / "tokens").touch(0o600)
    (folder / "relay.toml").write_text(CONFIG.format(port=port, bridge=8490, options=""))
    command = [*RELAY, "serve", "--config", "relay.toml", "--workers", workers]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"cannot listen on 127.0.0.1:{port}: the port is taken; stop the other process" in done.stderr


async def test_taken_port_is_one_line_and_exit_code_1(start_process: StartProcess, tmp_path: Path) -> None:
    """Even if its owner would share it: only workers may."""
    for shared in (False, True):
        with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as taken:
            refuses(taken.getsockname()[1], "2", tmp_path)
    relay = await start_process(workers=2)
    for workers in ("1", "2"):
        refuses(relay.address.rpartition(":")[2], workers, tmp_path)


PROGRAM = Path(__file__).with_name("supervised.py")


@pytest.mark.parametrize("mode", ["at-once", "fork-fails", "hangs", "ignored"])
def test_lost_worker_is_replaced_and_a_signal_to_the_group_is_one_order(mode: str) -> None:
    """Also after a fork that fails, a worker that hangs, and by a parent that ignores SIGCHLD."""
    command = [sys.executable, str(PROGRAM), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as popen:
        assert popen.stdout is not None
        try:
            *_, (_, first) = sorted((popen.stdout.readline().split() for _ in range(3)), key=len)
            os.kill(int(first), signal.SIGKILL)
            expected = ["lost", "pid"] * (2 if mode == "hangs" else 1)
            assert [popen.stdout.readline().split()[0] for _ in expected] == expected
            os.killpg(popen.pid, signal.SIGTERM)
            assert popen.wait(timeout=PATIENCE) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)


async def test_each_worker_has_its_leases(
    bridge: FakeBridge, ledger: FakeLedger, start_process: StartProcess
) -> None:
    """Processes in the sandbox, if the kernel has one. A lease of one is unknown to the other."""
    port = free_port(2)
    table = f'[ledger]\naddress = "127.0.0.1:{ledger.port}"\n'
    relay = await start_process(f'metrics = "127.0.0.1:{port}"', workers=2, tls=table)
    ledger.add(relay.token)
    await until(lambda: relay.count("ledger_up") == 2)
    async with connections(relay) as clients:
        leased = [await client.leased() for client in clients]
        for client in leased:
            assert await client.exchange(bridge.envelope()) == [b"hello"]
        lease, ends = leased[0].token, set()
        for client in leased:
            client.token = lease
            ends.add(await outcome(client.exchange(bridge.envelope())))
        assert ends == {"ok", "lease_unknown"}
        assert (await scrape(port))["ledger_up"] == 1
    await until(lambda: len(ledger.ends()) == len(bridge.seen))
    assert await relay.end() == 0


async def outcome(call: Any) -> str:
    """ "ok", or why it was refused."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.details() or ""
    return "ok"
