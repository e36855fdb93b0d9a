"""The relay as a process: its command line, its errors, its end, its memory, and what it does not import."""

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
from blindrelay.v1.identity_text import format_identity

if TYPE_CHECKING:
    from tests.relay_node.conftest import Client, FakeBridge, RelayTls, Seen

RELAY = (*launcher(), sys.executable, "-m", "blindrelay.relay_node")
SANDBOX = f"sandbox = {str(landlock_version() > 0).lower()}"
"""Wherever the kernel can: whatever a relay does in its life, it does in there."""

CONFIG = """
listen = "127.0.0.1:0"
tokens = "tokens"
drain_seconds = {drain}
{sandbox}
[[replica]]
address = "127.0.0.1:{port}"
"""

# Importing any of these raises in a relay started through this module.
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


@dataclass
class Process:
    """A relay process that listens."""

    popen: asyncio.subprocess.Process
    address: str
    client: Client
    stderr: asyncio.Task[bytes]

    async def lines(self) -> list[str]:
        """What it wrote to stderr, once it has ended."""
        return (await self.stderr).decode().splitlines()

    def peak_memory(self) -> int:
        """VmHWM in bytes."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1_024


StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start_process(
    tmp_path: Path, bridge: FakeBridge, new_client: type[Client]
) -> AsyncIterator[StartProcess]:
    """Starts relay processes in front of `bridge`, from a configuration in tmp_path."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(drain: int = 20, tls: str = "", env: dict[str, str] | None = None) -> Process:
            token = issue_token(tmp_path / "tokens", "client", datetime.now(UTC))
            config = tmp_path / "relay.toml"
            config.write_text(CONFIG.format(port=bridge.port, drain=drain, sandbox=SANDBOX) + tls)
            popen = await asyncio.create_subprocess_exec(
                *(*RELAY, "serve", "--config", str(config), "--json"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **(env or {})},
            )
            stack.push_async_callback(end, popen)
            assert popen.stdout is not None
            assert popen.stderr is not None
            stderr = asyncio.create_task(popen.stderr.read())
            line = await popen.stdout.readline()
            assert line, (await stderr).decode()
            address = json.loads(line)["listening"]
            client = new_client(address, token)
            stack.push_async_callback(client.channel.close)
            return Process(popen, address, client, stderr)

        yield start


async def end(popen: asyncio.subprocess.Process) -> None:
    if popen.returncode is None:
        popen.kill()
    await popen.wait()


async def run(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a relay command."""
    popen = await asyncio.create_subprocess_exec(
        *(*RELAY, *arguments), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await popen.communicate()
    assert popen.returncode is not None
    return popen.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("asked_for", [{}, {"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "all"}])
async def test_it_serves_and_ends_on_sigterm_with_nothing_but_records(
    start_process: StartProcess, bridge: FakeBridge, asked_for: dict[str, str]
) -> None:
    process = await start_process(env=asked_for)
    assert await process.client.exchange(bridge.envelope()) == [b"hello"]
    process.popen.send_signal(signal.SIGTERM)
    assert await process.popen.wait() == 0
    events = [json.loads(line)["event"] for line in await process.lines()]
    assert events[-3:] == ["draining", "exchanges", "stopped"]
    assert sorted(set(events)) == ["draining", "exchanges", "replica_up", "started", "stopped"]


async def test_sighup_reads_the_files_again_and_ends_nothing(
    start_process: StartProcess, bridge: FakeBridge, tmp_path: Path
) -> None:
    process = await start_process()
    call = process.client.call(bridge.envelope())
    await call.write(b"one")
    assert await call.read() == b"one"
    process.popen.send_signal(signal.SIGHUP)
    await call.write(b"two")
    assert await call.read() == b"two"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    (tmp_path / "tokens").write_text("broken")
    process.popen.send_signal(signal.SIGHUP)
    process.popen.send_signal(signal.SIGTERM)
    assert await process.popen.wait() == 0
    events = [json.loads(line)["event"] for line in await process.lines()]
    assert events.count("reread") == 2
    assert events.count("tokens_unreadable") == 1, "without a call"


async def test_it_needs_no_cryptography(
    start_process: StartProcess, bridge: FakeBridge, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    process = await start_process(env={"PYTHONPATH": str(tmp_path)})
    assert await process.client.exchange(bridge.envelope()) == [b"hello"]
    assert len(await process.client.directories()) == 1


async def test_the_blocker_blocks(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    popen = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import nacl"),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert b"nacl is blocked" in (await popen.communicate())[1]


async def test_draining_refuses_new_calls_and_lets_running_ones_finish(
    start_process: StartProcess, bridge: FakeBridge
) -> None:
    process = await start_process()
    call = process.client.call(bridge.envelope())
    await call.write(b"one")
    assert await call.read() == b"one"
    process.popen.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    for refused in (process.client.exchange(bridge.envelope()), process.client.directories()):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await refused
        assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.UNAVAILABLE, "draining")
    await call.write(b"two")
    assert await call.read() == b"two"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    assert await process.popen.wait() == 0


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_call_that_outlasts_the_drain_is_cancelled(
    start_process: StartProcess, bridge: FakeBridge, signals: int
) -> None:
    process = await start_process(drain=1 if signals == 1 else 3_600)
    call = process.client.call(bridge.envelope())
    await call.write(b"one")
    assert await call.read() == b"one"
    for _ in range(signals):
        process.popen.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await process.popen.wait() == 0
    for line in await process.lines():
        json.loads(line)
    async with asyncio.timeout(20):
        await bridge.seen[0].cancelled.wait()
    assert not bridge.seen[0].half_closed


async def test_broken_calls_leave_nothing_on_stderr_but_records(
    start_process: StartProcess, bridge: FakeBridge, new_client: type[Client]
) -> None:
    process = await start_process()
    await process.client.directories()
    for _ in range(3):
        client = new_client(process.address, process.client.token)
        calls = [client.call(bridge.envelope()) for _ in range(12)]
        for call in calls:
            await call.write(b"x")
        for call in calls[::2]:
            await call.read()
        for call in calls[::3]:
            call.cancel()
        await client.channel.close()
    await bridge.stop()
    with pytest.raises(grpc.aio.AioRpcError):
        await process.client.exchange(bridge.envelope())
    process.popen.send_signal(signal.SIGTERM)
    assert await process.popen.wait() == 0
    outcomes = [json.loads(line).get("outcomes", {}) for line in await process.lines()]
    assert {outcome for counted in outcomes for outcome in counted} <= {
        "ok",
        "cancelled",
        "bridge_unavailable",
    }
    assert any(counted.get("cancelled", 0) > 10 for counted in outcomes)


async def test_slow_readers_cost_a_bounded_amount_of_memory(
    start_process: StartProcess, bridge: FakeBridge
) -> None:
    """20 clients that stop reading while the bridge would send each 64 MiB."""
    piece, readers = os.urandom(65_536), 20
    written = 0

    async def script(context: Any, seen: Seen) -> None:
        nonlocal written
        await context.read()
        for _ in range(1_024):
            await context.write(piece)
            written += len(piece)

    process = await start_process()
    await process.client.exchange(bridge.envelope())
    before = process.peak_memory()
    bridge.script = script
    calls = [process.client.call(bridge.envelope()) for _ in range(readers)]
    for call in calls:
        await call.write(b"x")
        assert await call.read() == piece
    last = -1
    while written != last:
        last = written
        await asyncio.sleep(0.5)
    assert written < readers * 4 * 1_048_576
    assert process.peak_memory() - before < readers * 1_048_576 + 8 * 1_048_576
    for call in calls:
        call.cancel()


async def test_a_large_answer_passes_in_bounded_memory(
    start_process: StartProcess, bridge: FakeBridge
) -> None:
    piece = os.urandom(65_536)

    async def script(context: Any, seen: Seen) -> None:
        await context.read()
        for _ in range(1_024):
            await context.write(piece)

    process = await start_process()
    await process.client.exchange(bridge.envelope())
    before = process.peak_memory()
    bridge.script = script
    call = process.client.call(bridge.envelope())
    await call.write(b"x")
    received = 0
    while isinstance(message := await call.read(), bytes):
        assert message == piece
        received += len(message)
    assert received == 64 * 1_048_576
    assert process.peak_memory() - before < 16 * 1_048_576


async def test_tls_serves_and_junk_leaves_no_line_but_records(
    start_process: StartProcess, bridge: FakeBridge, relay_tls: RelayTls, new_client: type[Client]
) -> None:
    process = await start_process(tls=relay_tls.table)
    with socket.create_connection(("127.0.0.1", int(process.address.rpartition(":")[2]))) as junk:
        junk.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await asyncio.to_thread(junk.recv, 1_000)
    client = new_client(process.address, process.client.token, relay_tls.credentials)
    assert await client.exchange(bridge.envelope()) == [b"hello"]
    await client.channel.close()
    process.popen.send_signal(signal.SIGTERM)
    assert await process.popen.wait() == 0
    for line in await process.lines():
        assert json.loads(line)["event"] in {"started", "replica_up", "exchanges", "draining", "stopped"}


async def test_token_commands(tmp_path: Path) -> None:
    code, token, _ = await run("token", "issue", "alice", "--tokens", "tokens", cwd=tmp_path)
    assert (code, len(token.strip())) == (0, 47)
    assert token.strip() not in (tmp_path / "tokens").read_text()
    assert (await run("token", "list", "--tokens", "tokens", cwd=tmp_path))[1].startswith("alice\t20")
    assert (await run("token", "revoke", "alice", "--tokens", "tokens", cwd=tmp_path))[0] == 0
    assert (await run("token", "list", "--tokens", "tokens", cwd=tmp_path))[:2] == (0, "")


REPLICA = '[[replica]]\naddress = "127.0.0.1:8490"\n'
LISTEN = 'listen = "127.0.0.1:0"\n'
IDENTITY = format_identity(bytes(32))
GOOD = LISTEN + 'tokens = "tokens"\n' + REPLICA


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("listen = ", "relay.toml: not valid TOML"),
        ("", "listen is missing"),
        (LISTEN + REPLICA, "tokens is missing"),
        (LISTEN + 'tokens = "tokens"\n', "[[replica]]"),
        ("surprise = 1\n" + GOOD, "surprise is not a known key"),
        (GOOD + "surprise = 1\n", "replica[0].surprise is not a known key"),
        ('listen = 8480\ntokens = "tokens"\n' + REPLICA, "listen must be a string"),
        ('listen = "localhost"\ntokens = "tokens"\n' + REPLICA, "host:port"),
        ('listen = "0.0.0.0:0"\ntokens = "tokens"\n' + REPLICA, "add a [tls] section"),
        ('listen = "0.0.0.0:0"\ntokens = "tokens"\n' + REPLICA, "Set plaintext = true"),
        ("max_exchanges = 0\n" + GOOD, "max_exchanges must be from 1 to"),
        ("drain_seconds = true\n" + GOOD, "drain_seconds must be an integer"),
        (GOOD.replace('"tokens"', '"absent"'), "absent: the tokens file does not exist"),
        (GOOD.replace('"tokens"', '"broken"'), "broken: line 1 is not NAME SHA256HEX CREATED"),
        (GOOD + REPLICA, "replica has an address twice"),
        (
            GOOD + REPLICA.replace("8490", "8491") + f'identity = "{IDENTITY}"\n',
            'replica at 127.0.0.1:8490 has no identity: with several replicas, add identity = "br1..."',
        ),
        (
            GOOD + f'identity = "{IDENTITY[:-1]}"\n',
            "replica[0].identity is not an identity: a bridge",
        ),
        (GOOD + 'next_identity = "br2"\n', "replica[0].next_identity is not an identity"),
        ("max_exchanges_per_token = 0\n" + GOOD, "max_exchanges_per_token must be from 1 to"),
        ("max_connections_per_token = 0\n" + GOOD, "max_connections_per_token must be from 1 to"),
        ("max_request_bytes = 131071\n" + GOOD, "max_request_bytes must be from 131072 to"),
        ("unread_seconds = 0\n" + GOOD, "unread_seconds must be from 1 to"),
        (GOOD.replace("127.0.0.1:8490", "192.0.2.1:8490"), "add a [replica.tls] section"),
        (GOOD.replace("127.0.0.1:8490", "192.0.2.1:8490"), "or set plaintext = true"),
        (GOOD + "plaintext = true\n[replica.tls]\n", "plaintext = true contradicts [replica.tls]"),
        (
            "plaintext = true\n" + GOOD + '[tls]\ncertificate = "broken"\nkey = "broken"\n',
            "plaintext = true contradicts the [tls] section",
        ),
        (GOOD.replace(":8490", ":0"), "port 0"),
        (GOOD + 'token_file = "absent"\n', "absent: the token file does not exist"),
        (GOOD + 'token_file = "broken"\n', "broken: not an access token"),
        (GOOD + 'token_file = "open"\n', "open: the token file is open to others (mode 0604); run chmod 600"),
        (GOOD + 'token_file = "credential:a"\n', 'replica[0].token_file = "credential:a" needs'),
        (
            GOOD + '[tls]\ncertificate = "absent"\nkey = "absent"\n',
            "absent: the TLS certificate does not exist",
        ),
        (GOOD + '[tls]\ncertificate = "broken"\nkey = "broken"\n', "not a PEM certificate chain"),
        (GOOD + '[replica.tls]\nca = "absent"\n', "absent: the CA certificate does not exist"),
        (GOOD + '[replica.tls]\nca = "broken"\n', "not a PEM file of CA certificates"),
        (GOOD + '[replica.tls]\nkey = "broken"\n', "goes with key"),
    ],
)
async def test_wrong_input_is_one_line_and_exit_code_2(tmp_path: Path, config: str, words: str) -> None:
    (tmp_path / "tokens").write_text("")
    (tmp_path / "broken").write_text("nonsense\n")
    (tmp_path / "broken").chmod(0o600)
    (tmp_path / "open").touch()
    (tmp_path / "open").chmod(0o604)
    (tmp_path / "relay.toml").write_text(config)
    code, out, err = await run("serve", "--config", "relay.toml", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("blindrelay-relay: ")
    assert err.count("\n") == 1
    assert words in err


async def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "relay.toml").write_text(GOOD.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        code, out, err = await run("serve", "--config", "relay.toml", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err == (
        f"blindrelay-relay: cannot listen on 127.0.0.1:{port}: the port is taken; "
        "stop the other process or choose another port\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [(), ("serve",), ("serve", "--config", "absent"), ("serve", "--port", "1"), ("token",), ("x",)],
)
async def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = await run(*arguments, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("blindrelay-relay: ")
    assert err.count("\n") == 1


async def test_without_json_it_says_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    (tmp_path / "relay.toml").write_text(GOOD)
    popen = await asyncio.create_subprocess_exec(
        *(*RELAY, "serve", "--config", "relay.toml"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert popen.stdout is not None
    assert (await popen.stdout.readline()).startswith(b"The relay listens on 127.0.0.1:")
    popen.terminate()
    assert await popen.wait() == 0
