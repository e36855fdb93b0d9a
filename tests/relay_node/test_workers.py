"""A relay as several processes on one port: they serve, drain, are replaced, and end together."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from blindrelay.serving import issue_token
from blindrelay.serving.landlock import landlock_version
from blindrelay.testbed.unprivileged import launcher
from blindrelay.v1.grpc_workarounds import StatusWatch

if TYPE_CHECKING:
    from tests.relay_node.conftest import Client, FakeBridge, RelayTls

RELAY = (*launcher(), sys.executable, "-m", "blindrelay.relay_node")
SANDBOX = f"sandbox = {str(landlock_version() > 0).lower()}"
"""Wherever the kernel can: whatever a relay does in its life, it does in there."""

CONFIG = """
listen = "127.0.0.1:{port}"
tokens = "tokens"
{options}
[[replica]]
address = "127.0.0.1:{bridge}"
"""

CONNECTIONS = 16
"""The kernel deals them out by their ports: all to one of two workers happens once in 32,768 times."""


@dataclass
class Workers:
    """A relay with worker processes that listens, and clients of it with a connection each."""

    popen: asyncio.subprocess.Process
    address: str
    clients: list[Client]
    lines: list[dict[str, Any]]
    """What they wrote to stderr so far."""

    def pids(self) -> list[int]:
        """Of the worker processes that live."""
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self.lines)


StartWorkers = Callable[..., Awaitable[Workers]]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


@pytest.fixture
async def start_workers(
    tmp_path: Path, bridge: FakeBridge, new_client: type[Client]
) -> AsyncIterator[StartWorkers]:
    """Starts relays in front of `bridge`, from a configuration in tmp_path."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(options: str = "drain_seconds = 20", count: int = 2) -> Workers:
            token = issue_token(tmp_path / "tokens", "client", datetime.now(UTC))
            config = tmp_path / "relay.toml"
            config.write_text(CONFIG.format(port=0, bridge=bridge.port, options=f"{SANDBOX}\n{options}"))
            popen = await asyncio.create_subprocess_exec(
                *(*RELAY, "serve", "--config", str(config), "--json", "--workers", str(count)),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                process_group=0,
            )
            stack.push_async_callback(end, popen)
            assert popen.stdout is not None
            assert popen.stderr is not None
            line = await popen.stdout.readline()
            assert line, (await popen.stderr.read()).decode()
            address = json.loads(line)["listening"]
            clients = [new_client(address, token) for _ in range(CONNECTIONS)]
            for client in clients:
                stack.push_async_callback(client.channel.close)
            lines: list[dict[str, Any]] = []
            reading = asyncio.create_task(keep(popen.stderr, lines))
            stack.callback(reading.cancel)
            return Workers(popen, address, clients, lines)

        yield start


async def keep(stderr: asyncio.StreamReader, lines: list[dict[str, Any]]) -> None:
    async for line in stderr:
        lines.append(json.loads(line))


async def end(popen: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    await popen.wait()


async def open_streams(workers: Workers, bridge: FakeBridge) -> list[Any]:
    """An exchange on each connection, of which one message has come back."""
    calls = [client.call(bridge.envelope()) for client in workers.clients]
    for call in calls:
        await call.write(b"one")
    for call in calls:
        assert await call.read() == b"one"
    return calls


async def finish(call: Any) -> None:
    await call.write(b"two")
    assert await call.read() == b"two"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_every_worker_serves_and_all_end_on_sigterm(
    start_workers: StartWorkers, bridge: FakeBridge
) -> None:
    workers = await start_workers(count=3)
    assert len(workers.pids()) == 3
    for client in workers.clients:
        assert await client.exchange(bridge.envelope()) == [b"hello"]
        assert len(await client.directories()) == 1
    pids = workers.pids()
    workers.popen.send_signal(signal.SIGTERM)
    assert await workers.popen.wait() == 0
    assert not any(map(alive, pids))
    assert [workers.count(event) for event in ("started", "draining", "stopped")] == [3, 3, 3]
    assert workers.count("worker_lost") == 0
    assert workers.count("exchanges") >= 3, "each reports for itself, at the end at least"


@pytest.mark.parametrize("to_all", [False, True], ids=["to the supervisor", "to the group"])
async def test_all_workers_drain(start_workers: StartWorkers, bridge: FakeBridge, to_all: bool) -> None:
    """A terminal's Ctrl-C and a service manager reach every process, which is no second signal."""
    workers = await start_workers()
    calls = await open_streams(workers, bridge)
    (os.killpg if to_all else os.kill)(workers.popen.pid, signal.SIGINT)
    await asyncio.sleep(0.5)
    for client in workers.clients:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await client.exchange(bridge.envelope())
        assert failure.value.details() == "draining"
    await asyncio.gather(*map(finish, calls))
    assert await workers.popen.wait() == 0


async def test_sighup_reaches_every_worker(
    start_workers: StartWorkers, bridge: FakeBridge, until: Until
) -> None:
    workers = await start_workers()
    workers.popen.send_signal(signal.SIGHUP)
    await until(lambda: workers.count("reread") == 2)
    assert workers.count("worker_lost") == 0
    for client in workers.clients:
        assert await client.exchange(bridge.envelope()) == [b"hello"]
    workers.popen.send_signal(signal.SIGTERM)
    assert await workers.popen.wait() == 0


async def test_a_second_signal_ends_all_workers(
    start_workers: StartWorkers, bridge: FakeBridge, until: Until
) -> None:
    workers = await start_workers("drain_seconds = 3600")
    calls = await open_streams(workers, bridge)
    workers.popen.send_signal(signal.SIGTERM)
    await until(lambda: workers.count("draining") == 2)
    workers.popen.send_signal(signal.SIGTERM)
    assert await workers.popen.wait() == 0
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()


async def test_a_worker_that_dies_is_replaced_and_the_others_go_on(
    start_workers: StartWorkers, bridge: FakeBridge, until: Until
) -> None:
    workers = await start_workers("drain_seconds = 20")
    calls = await open_streams(workers, bridge)
    victim, other = workers.pids()
    os.kill(victim, signal.SIGKILL)
    await until(lambda: workers.count("started") == 3)
    assert workers.count("worker_lost") == 1
    assert victim not in workers.pids()
    assert other in workers.pids()
    lost = 0
    for call in calls:
        try:
            await finish(call)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            lost += 1
    assert 0 < lost < CONNECTIONS
    for client in workers.clients:
        assert await client.exchange(bridge.envelope()) == [b"hello"]
    workers.popen.send_signal(signal.SIGTERM)
    assert await workers.popen.wait() == 0


def two_free_ports() -> int:
    """The first of two ports that follow each other."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError), socket.create_server(("127.0.0.1", port + 1)):
                return port


async def test_every_worker_has_metrics_on_a_port_of_its_own(start_workers: StartWorkers) -> None:
    first = two_free_ports()
    await start_workers(f'metrics = "127.0.0.1:{first}"')
    for port in (first, first + 1):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"blindrelay_relay_replicas 1.0" in await reader.read()
        writer.close()


async def test_every_worker_has_the_certificate(
    start_workers: StartWorkers, bridge: FakeBridge, relay_tls: RelayTls, new_client: type[Client]
) -> None:
    workers = await start_workers(relay_tls.table)
    for _ in range(CONNECTIONS):
        client = new_client(workers.address, workers.clients[0].token, relay_tls.credentials)
        assert await client.exchange(bridge.envelope()) == [b"hello"]
        await client.channel.close()


async def test_without_a_supervisor_the_workers_end(
    start_workers: StartWorkers, bridge: FakeBridge, until: Until
) -> None:
    workers = await start_workers("drain_seconds = 3600")
    await open_streams(workers, bridge)
    pids = workers.pids()
    workers.popen.kill()
    await until(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended may wait for its new parent to say so."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_the_supervisor_ends_when_no_worker_is_left(start_workers: StartWorkers, until: Until) -> None:
    workers = await start_workers()
    os.kill(workers.pids()[0], signal.SIGKILL)
    os.kill(workers.pids()[-1], signal.SIGKILL)
    assert await workers.popen.wait() == 1


async def begin(call: Any) -> str:
    """What comes back first: the message, or the details of a refusal."""
    status = StatusWatch(call)
    with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
        await call.write(b"one")
    try:
        message: bytes = await call.read()
    except grpc.aio.AioRpcError as refusal:
        return str((await status.status(refusal))[1])
    return message.decode()


async def test_workers_share_the_limit_of_exchanges(start_workers: StartWorkers, bridge: FakeBridge) -> None:
    """All of them have one token, which gets half of each worker's share."""
    workers = await start_workers("max_exchanges = 6")
    outcomes = [await begin(client.call(bridge.envelope())) for client in workers.clients]
    assert sorted(outcomes) == [*["one"] * 4, *["overloaded"] * (CONNECTIONS - 4)]


async def run(tmp_path: Path, config: str, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of a relay that does not come to serve."""
    (tmp_path / "tokens").touch(0o600)
    (tmp_path / "relay.toml").write_text(config)
    popen = await asyncio.create_subprocess_exec(
        *(*RELAY, "serve", "--config", "relay.toml", *arguments),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await popen.communicate()
    return popen.returncode, out.decode(), err.decode()


GOOD = CONFIG.format(port=0, bridge=8490, options="")


@pytest.mark.parametrize(
    ("config", "count", "words"),
    [
        (GOOD.replace('"tokens"', '"absent"'), "2", "absent: the tokens file does not exist"),
        ("max_exchanges = 2\n" + GOOD, "3", "max_exchanges = 2 is too small for 3 workers"),
        (GOOD, "0", "argument --workers: 0 is not a number from 1 to 64"),
        (GOOD, "65", "argument --workers: 65 is not a number from 1 to 64"),
        (GOOD, "two", "argument --workers: two is not a number"),
        (GOOD.replace("127.0.0.1:0", "nowhere.invalid:1") + "plaintext = true", "2", "nowhere.invalid"),
    ],
)
async def test_wrong_input_is_one_line_and_exit_code_2(
    tmp_path: Path, config: str, count: str, words: str
) -> None:
    code, out, err = await run(tmp_path, config, "--workers", count)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.parametrize("shared", [False, True])
async def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path: Path, shared: bool) -> None:
    """Also one that its owner would share: that is for workers, and not for another relay."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as taken:
        config = CONFIG.format(port=taken.getsockname()[1], bridge=8490, options="")
        code, out, err = await run(tmp_path, config, "--workers", "2")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "the port is taken" in err


async def test_no_other_relay_takes_the_port(start_workers: StartWorkers, tmp_path: Path) -> None:
    workers = await start_workers()
    config = CONFIG.format(port=workers.address.rpartition(":")[2], bridge=8490, options="")
    for count in ("1", "2"):
        code, _, err = await run(tmp_path, config, "--workers", count)
        assert (code, "the port is taken" in err) == (1, True)
