"""The processes that are measured, started as an operator starts them, and the generators that load them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc

from blindrelay.serving import authorization, issue_token
from blindrelay.testbed.configuration import official_providers, write_bridge_config
from blindrelay.testbed.processes import PartProcess
from blindrelay.testing.configuration import Option, write_relay_config
from blindrelay.v1.exchange_pb2 import GetKeyDirectoryRequest
from blindrelay.v1.exchange_pb2_grpc import ExchangeServiceStub

ROOT: Final = Path(__file__).parents[1]
READY_SECONDS: Final = 60.0
ROOM: Final = 10_000
"""Exchanges at once that a bridge takes here: the most that can be configured."""

RELAY_ROOM: Final = 20_000
"""The same for a relay."""

BRIDGE: Final = "blindrelay.provider_bridge"
UNSEALED_BRIDGE: Final = "bench.doubles.unsealed"

_ROOMS: Final = sorted(path.parents[2].name for path in ROOT.glob("*/blindrelay/*/__init__.py"))
"""The folders of the packages."""


def relay_room(exchanges: int) -> dict[str, Option]:
    """Options that allow one token this many exchanges. A token gets at most half of all."""
    return {
        "max_exchanges": 2 * exchanges,
        "max_exchanges_per_token": exchanges,
        "max_connections_per_token": exchanges,
    }


class UnavailableError(Exception):
    """A comparison cannot be made on this machine. The message says why."""


def _environment(tree: Path) -> dict[str, str]:
    """What a process needs to run the packages of a tree: this one is installed, another comes before it."""
    rooms = [] if tree == ROOT else [tree / room for room in _ROOMS]
    return {"PYTHONPATH": os.pathsep.join(map(str, [tree, *rooms]))}


class Chain:
    """Starts parts by name, and stops all of them at the end of the block.

    `tree` is the checkout whose code the parts run.

    Attributes:
        folder: holds configuration files while the block runs.
        token: identifies the clients to the relays.
        pids: of the running parts, by name.
        addresses: of other programs, by name.
    """

    def __init__(self, tree: Path = ROOT) -> None:
        self._tree = tree
        self._environment = _environment(tree)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="blindrelay-bench-")))
        self.token = issue_token(self.folder / "tokens", "bench", datetime.now(UTC))
        self.pids: dict[str, int] = {}
        self.addresses: dict[str, str] = {}
        self._ends: dict[str, Callable[[], None]] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def provider(self, name: str = "provider") -> str:
        """Starts a provider. Returns its address."""
        return self._start(PartProcess(name, "bench.provider", list, self._environment)).listening

    def bridge(self, provider: str, name: str = "bridge", module: str = BRIDGE) -> PartProcess:
        """A bridge that answers the official addresses from the provider."""
        arguments = ["serve", "--config", str(self._bridge_config(provider, name)), "--json"]
        return self._start(PartProcess(name, module, lambda: arguments, self._environment))

    def relay(
        self,
        behind: str,
        name: str = "relay",
        options: Mapping[str, Option] | None = None,
        arguments: Sequence[str] = (),
        ledger: str | None = None,
    ) -> str:
        """Starts a relay, waits for its bridge, and returns its address. Raises UnavailableError.

        With the address of a `ledger` it gives leases.
        """
        config = self.folder / f"{name}.toml"
        all_options: dict[str, Option] = {"drain_seconds": 0, **self.relay_room(), **(options or {})}
        accounts = None if ledger is None else {"address": ledger}
        write_relay_config(config, "127.0.0.1:0", [behind], all_options, ledger=accounts)
        command = ["serve", "--config", str(config), "--json", *arguments]
        part = self._start(PartProcess(name, "blindrelay.relay_node", lambda: command, self._environment))
        self._wait_for_bridge(part.listening)
        return part.listening

    def relay_room(self) -> dict[str, Option]:
        """What a relay's configuration says about how many exchanges it takes."""
        return relay_room(RELAY_ROOM)

    def books(self, name: str = "books") -> str:
        """Starts a double of a ledger. Returns its address."""
        return self._start(PartProcess(name, "bench.doubles.books", list, self._environment)).listening

    def control(self, listen: str, behind: str, name: str) -> str:
        """Starts the control process of an Envoy that will listen there, and a double of its ledger.

        Returns Envoy's configuration.
        """
        config = self.folder / f"{name}.toml"
        options = {"drain_seconds": 0, **relay_room(RELAY_ROOM)}
        accounts = {"address": self.books(f"books of {name}")}
        write_relay_config(config, listen, [behind], options, ledger=accounts)
        command = ["envoy", "--config", str(config), "--json"]
        part = self._start(PartProcess(name, "blindrelay.relay_node", lambda: command))
        return part.announcement["envoy_config"]

    def sink(self, name: str = "sink") -> dict[str, str]:
        """Starts a sink. Returns what a way of kind "raw" needs to reach it."""
        part = self._start(PartProcess(name, "bench.doubles.sink", list, self._environment))
        said = part.announcement
        given = {key: said[key] for key in ("identity", "key_id")}
        return {"address": said["listening"], "token": self.token, **given}

    def pass_through(self, behind: str, name: str) -> str:
        """Starts a forwarder that is grpc.aio and nothing else. Returns its address."""
        part = PartProcess(name, "bench.doubles.pass_through", lambda: [behind], self._environment)
        return self._start(part).listening

    def program(
        self, name: str, command: Sequence[object], address: str, *, relays: bool = False, **options: Any
    ) -> None:
        """Starts another program that listens at an address, and waits for its bridge if it `relays`.

        Raises UnavailableError if it does not listen.
        """
        log = self._stack.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
        )
        self._stack.callback(_end, process)
        self._ends[name] = lambda: _end(process)
        _wait_for_listener(name, address, process, Path(log.name))
        if relays:
            self._wait_for_bridge(address)
        self.pids[name], self.addresses[name] = process.pid, address

    def connection(self, address: str, bridge: PartProcess) -> str:
        """The connection string for a client. Shaping, which has a price of its own, is off."""
        return self.plain_connection(address, bridge) + "&shape=off"

    def plain_connection(self, address: str, bridge: PartProcess) -> str:
        """The same with the defaults of the client's version."""
        identity = bridge.announcement["identity"]
        return f"blindrelay://{self.token}@{address}?bridge={identity}&tls=off&history=off"

    def generator(self, way: str, given: Mapping[str, str], concurrency: int = 1) -> Generator:
        """Starts a process that loads a way."""
        return self._stack.enter_context(Generator(way, given, concurrency, self._tree))

    def stop(self, name: str) -> None:
        """Stops a part before the end."""
        self._ends[name]()
        del self.pids[name]

    def _bridge_config(self, provider: str, name: str) -> Path:
        config = self.folder / f"{name}.toml"
        options: dict[str, Option] = {"drain_seconds": 0, "max_exchanges": ROOM}
        write_bridge_config(config, "127.0.0.1:0", official_providers(f"http://{provider}"), options)
        return config

    def _start(self, part: PartProcess) -> PartProcess:
        part.start()
        self._stack.callback(part.stop)
        self._ends[part.name] = part.stop
        self.pids[part.name] = part.pid
        return part

    def _wait_for_bridge(self, address: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with grpc.insecure_channel(address) as channel:
            stub = ExchangeServiceStub(channel)
            while time.monotonic() < deadline:
                try:
                    stub.GetKeyDirectory(
                        GetKeyDirectoryRequest(), metadata=(authorization(self.token),), timeout=READY_SECONDS
                    )
                except grpc.RpcError:
                    time.sleep(0.05)
                else:
                    return
        raise UnavailableError("the relay did not find its bridge")


class Generator:
    """A load generator in its own process, opened for one way."""

    def __init__(self, way: str, given: Mapping[str, str], concurrency: int, tree: Path = ROOT) -> None:
        self._tree = tree
        self._opening = {"way": way, "given": dict(given), "concurrency": concurrency}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._tree,
            env={**os.environ, **_environment(self._tree)},
        )
        opened = self.ask(self._opening)
        if "error" in opened:
            self._process.communicate()
            raise UnavailableError(opened["error"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Sends an order and waits for the outcome. Raises RuntimeError if the process ends instead."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the generator has no pipes")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for_listener(name: str, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import socket

    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise UnavailableError(f"{name} does not listen: {log.read_text()[-300:]}")
