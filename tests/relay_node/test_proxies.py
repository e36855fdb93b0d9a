"""Silent exchanges pass nginx, Envoy and HAProxy, with the configurations of docs/operations.md.

In `make test`, nginx's time-outs of 60 s and the relay's pings are ten times faster. `make soak` sets
BLINDRELAY_SILENCE=130. Then only ports and paths are changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import trustme

from blindrelay.serving import authorization, options
from blindrelay.v1.channel import ExchangeChannel
from blindrelay.v1.envelope import METADATA_KEY
from tests.relay_node.conftest import RunningRelay, StartRelay
from tests.relay_node.fake_bridge import FakeBridge, Seen
from tests.relay_node.raw_client import Client

OPERATIONS: Final = Path(__file__).parents[2] / "docs/operations.md"
HASTE: Final = 10
IN_EARNEST: Final = float(os.environ.get("BLINDRELAY_SILENCE", "0"))
SILENCE: Final = IN_EARNEST or 13.0
"""Seconds: more than twice the 60 s, or 6 s, after which nginx closes a silent connection."""

LONG_UPLOAD: Final = [bytes(60_000)] * 40
"""More than nginx's default limit for a request's body."""


@pytest.fixture
def certificates(tmp_path: Path) -> grpc.ChannelCredentials:
    """Certificates in tmp_path, with the names in the document."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "relay.pem")
    issued.private_key_pem.write_to_path(tmp_path / "relay.key")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "relay-and-key.pem")
    return grpc.ssl_channel_credentials(ca.cert_pem.bytes())


@pytest.fixture
async def relay(bridge: FakeBridge, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> RunningRelay:
    if not IN_EARNEST:
        hasty = dict(options._SERVER_OPTIONS)
        hasty["grpc.keepalive_time_ms"] //= HASTE
        monkeypatch.setattr(options, "_SERVER_OPTIONS", tuple(hasty.items()))

    async def script(context: Any, seen: Seen) -> None:
        while isinstance(message := await context.read(), bytes):
            seen.messages.append(message)
        if b"think" in seen.messages:
            await asyncio.sleep(SILENCE)
        await context.write(b"first")
        if b"pause" in seen.messages:
            await asyncio.sleep(SILENCE)
        await context.write(b"last")

    bridge.script = script
    return await start_relay(bridge.config)


@dataclass(frozen=True)
class Proxy:
    """A program, and the parts of its documented configuration that the test changes."""

    name: str
    language: str
    listens: tuple[str, str]
    behind: str
    command: Callable[[str, Path, str], list[str]]

    def program(self) -> str | None:
        places = (str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin")
        return shutil.which(self.name, path=":".join(places))

    def config(self, port: int, relay: str, files: Path) -> str:
        """The document's configuration, with this port, this relay and the certificates in this folder."""
        text = OPERATIONS.read_text("utf-8")
        blocks: list[str] = re.findall(rf"^```{self.language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        (config,) = [block for block in blocks if "8480" in block]
        changes = {
            self.listens[0]: self.listens[1].format(port=port),
            self.behind: self.behind.replace("8480", relay.rpartition(":")[2]),
            "/etc/blindrelay": str(files),
        }
        for word, instead in changes.items():
            assert word in config, f"{word} is not in the {self.name} configuration"
            config = config.replace(word, instead)
        return str(config)


def nginx(program: str, folder: Path, config: str) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = ["access_log off", *(f"{kind}_temp_path {folder}/{kind}" for kind in kinds)]
    if not IN_EARNEST:
        names = ("grpc_read_timeout", "grpc_send_timeout", "send_timeout", "client_body_timeout")
        lines += [f"{name} {60 // HASTE}s" for name in names]
    config = config.replace("http {", "http {\n" + "".join(f"{line};\n" for line in lines), 1)
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"daemon off;\npid {folder}/nginx.pid;\n{user}{config}")
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def envoy(program: str, folder: Path, config: str) -> list[str]:
    (folder / "envoy.yaml").write_text(config)
    options = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error")
    return [program, "-c", str(folder / "envoy.yaml"), *options]


def haproxy(program: str, folder: Path, config: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(config)
    return [program, "-db", "-f", str(folder / "haproxy.cfg")]


PROXIES: Final = (
    Proxy("nginx", "nginx", ("listen 443", "listen 127.0.0.1:{port}"), "server 127.0.0.1:8480", nginx),
    Proxy(
        "envoy",
        "yaml",
        ("0.0.0.0, port_value: 443", "127.0.0.1, port_value: {port}"),
        "address: 127.0.0.1, port_value: 8480",
        envoy,
    ),
    Proxy(
        "haproxy", "haproxy", ("bind :443", "bind 127.0.0.1:{port}"), "server relay 127.0.0.1:8480", haproxy
    ),
)


@asynccontextmanager
async def listening(command: list[str], port: int) -> AsyncIterator[None]:
    """Runs the program during the block, which begins when it listens."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    try:
        async with asyncio.timeout(30):
            while not await _accepts(port):
                assert process.returncode is None, (await said).decode()
                await asyncio.sleep(0.05)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await said


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.timeout(120 + SILENCE)
async def test_silent_exchanges_pass(
    relay: RunningRelay,
    bridge: FakeBridge,
    certificates: grpc.ChannelCredentials,
    tmp_path: Path,
) -> None:
    """Through all proxies at once, so that `make soak` waits only once."""
    missing = []
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for proxy in PROXIES:
            port = free_port()
            if (program := proxy.program()) is None:
                missing.append(proxy.name)
                continue
            folder = tmp_path / proxy.name
            folder.mkdir()
            command = proxy.command(program, folder, proxy.config(port, str(relay.address), tmp_path))
            await stack.enter_async_context(listening(command, port))
            client = Client(f"127.0.0.1:{port}", relay.client.token, certificates)
            group.create_task(passes(client, bridge))
    if missing:
        pytest.skip("not installed: " + ", ".join(missing))


async def passes(client: Client, bridge: FakeBridge) -> None:
    """Silence before the first byte and between two, and other exchanges on used connections."""
    whole = [b"first", b"last"]
    for _ in range(3):
        assert await client.exchange(bridge.envelope()) == whole
        assert len(await client.directories()) == 1
    silent = [
        client.exchange(bridge.envelope(), messages=[word], timeout=30 + SILENCE)
        for word in (b"think", b"pause")
    ]
    assert await asyncio.gather(*silent) == [whole, whole]
    assert await client.exchange(bridge.envelope(), messages=LONG_UPLOAD) == whole
    for _ in range(30):  # in one gRPC batch, as our client sends small requests
        metadata = (authorization(client.token), (METADATA_KEY, bridge.envelope(key_id=b"k" * 16)))
        refused = ExchangeChannel(client.channel).exchange(metadata, 30, b"hello")
        assert await refused.details() == "key_unknown"
    await client.channel.close()
