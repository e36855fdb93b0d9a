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

import pytest

from blindrelay.serving import ChannelTls, authorization, options
from blindrelay.testbed.ports import free_port
from blindrelay.v1.channel import ExchangeChannel
from blindrelay.v1.envelope import METADATA_KEY
from tests.certificates import Certificates
from tests.patience import PATIENCE, until
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


async def thoughtful(context: Any, seen: Seen) -> None:
    """The bridge's script."""
    while isinstance(message := await context.read(), bytes):
        seen.messages.append(message)
    if b"think" in seen.messages:
        await asyncio.sleep(SILENCE)
    await context.write(b"first")
    if b"pause" in seen.messages:
        await asyncio.sleep(SILENCE)
    await context.write(b"last")


@dataclass(frozen=True)
class Proxy:
    """A program, and what the test changes in its documented configuration: where it listens, the relay."""

    name: str
    language: str
    listens: tuple[str, str]
    behind: str
    command: Callable[[str, Path, str], list[str]]

    def program(self) -> str | None:
        places = (str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin")
        return shutil.which(self.name, path=":".join(places))

    def config(self, port: int, relay: int, files: Path) -> str:
        """The document's configuration, with this port, this relay and the certificates in this folder."""
        text = OPERATIONS.read_text("utf-8")
        blocks: list[str] = re.findall(rf"^```{self.language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        (config,) = [block for block in blocks if "8480" in block]
        for word, instead in (
            (self.listens[0], self.listens[1].format(port=port)),
            (self.behind, self.behind.replace("8480", str(relay))),
            ("/etc/blindrelay", str(files)),
        ):
            assert word in config, f"{word} is not in the {self.name} configuration"
            config = config.replace(word, instead)
        return config


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


ENVOY: Final = ("0.0.0.0, port_value: 443", "127.0.0.1, port_value: {port}")
PROXIES: Final = (
    Proxy("nginx", "nginx", ("listen 443", "listen 127.0.0.1:{port}"), "server 127.0.0.1:8480", nginx),
    Proxy("envoy", "yaml", ENVOY, "address: 127.0.0.1, port_value: 8480", envoy),
    Proxy("haproxy", "haproxy", ("bind :443", "bind 127.0.0.1:{port}"), "relay 127.0.0.1:8480", haproxy),
)


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@asynccontextmanager
async def running(proxy: Proxy, relay: RunningRelay, files: Path) -> AsyncIterator[int]:
    """Runs the proxy during the block, which begins when it listens. Yields its port."""
    port = free_port()
    folder, program = files / proxy.name, proxy.program()
    folder.mkdir()
    assert program is not None
    command = proxy.command(program, folder, proxy.config(port, relay.address.port, files))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: accepts(port) or process.returncode is not None)
        assert process.returncode is None
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_silent_exchanges_pass(
    bridge: FakeBridge, start_relay: StartRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through all proxies at once, so that `make soak` waits only once."""
    if not IN_EARNEST:
        hasty = dict(options._SERVER_OPTIONS)
        hasty["grpc.keepalive_time_ms"] //= HASTE
        monkeypatch.setattr(options, "_SERVER_OPTIONS", tuple(hasty.items()))
    bridge.script = thoughtful
    relay = await start_relay(bridge.config)
    made = Certificates(tmp_path / "made")
    for name, parts in (
        ("relay.pem", [made.chain]),
        ("relay.key", [made.key]),
        ("relay-and-key.pem", [made.key, made.chain]),
    ):
        (tmp_path / name).write_bytes(b"".join(part.read_bytes() for part in parts))
    missing = [proxy.name for proxy in PROXIES if proxy.program() is None]
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for proxy in PROXIES:
            if proxy.name not in missing:
                port = await stack.enter_async_context(running(proxy, relay, tmp_path))
                trusting = ChannelTls(made.ca).credentials()
                group.create_task(passes(Client(f"127.0.0.1:{port}", relay.client.token, trusting), bridge))
    if missing:
        pytest.skip("not installed: " + ", ".join(missing))


async def passes(client: Client, bridge: FakeBridge) -> None:
    """Silence before the first byte and between two, and other exchanges on used connections."""
    whole = [b"first", b"last"]
    for _ in range(3):
        assert await client.exchange(bridge.envelope()) == whole
        assert len(await client.directories()) == 1
    silent = [
        client.exchange(bridge.envelope(), messages=[word], timeout=PATIENCE + SILENCE)
        for word in (b"think", b"pause")
    ]
    assert await asyncio.gather(*silent) == [whole, whole]
    assert await client.exchange(bridge.envelope(), messages=LONG_UPLOAD) == whole
    for _ in range(30):  # in one gRPC batch, as our client sends small requests
        metadata = (authorization(client.token), (METADATA_KEY, bridge.envelope(key_id=b"k" * 16)))
        refused = ExchangeChannel(client.channel).exchange(metadata, PATIENCE, b"hello")
        assert await refused.details() == "key_unknown"
    await client.channel.close()
