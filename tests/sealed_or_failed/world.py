"""Runs all scenarios in a network namespace of their own, and writes down what was sent.

unshare --net --mount python -m tests.sealed_or_failed.world RESULT.json
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from blindrelay.testbed import Testbed
from blindrelay.testbed.evidence.capture import Capture, Flow

from .content import Canaries

_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"

_REFUSED: Final = b"\x81\x85"
"""A response that refuses (RFC 1035, section 4.1.1)."""

OUTSIDE: Final = "192.0.2.10"
"""The address of the providers' names (RFC 5737), where the sink accepts everything."""

PROVIDERS: Final = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")
_SETTLE_SECONDS: Final = 0.2
_QUIET_SECONDS: Final = 60
_LIMITS: Final = {"max_request_bytes": 65_536}


Outcomes = dict[str, list[str]]
"""For each way, a word for the end of each exchange."""


class Sink:
    """A host outside that accepts every connection, so that a leak does not fail unseen.

    It listens on the ports of HTTP, HTTPS and DNS, and on loopback as a proxy.

    Attributes:
        proxy: the URL of a proxy that accepts everything.
    """

    def __init__(self, address: str) -> None:
        self._listeners = [socket.create_server((address, port)) for port in (80, 443)]
        self._listeners.append(socket.create_server(("127.0.0.1", 0)))
        port = self._listeners[-1].getsockname()[1]
        self.proxy = f"http://127.0.0.1:{port}"
        self.ports = {80, 443, 53, port}
        self._names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._names.bind(("192.0.2.53", 53))

    def __enter__(self) -> Self:
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        threading.Thread(target=self._refuse_names, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for listener in (*self._listeners, self._names):
            listener.close()

    def _refuse_names(self) -> None:
        while True:
            try:
                question, address = self._names.recvfrom(4_096)
                self._names.sendto(question[:2] + _REFUSED + question[4:], address)
            except OSError:
                return

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_take, args=(connection,), daemon=True).start()


def _take(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(_QUIET_SECONDS)
        try:
            while connection.recv(65_536):
                connection.sendall(_ANSWER)
        except OSError:
            return


@dataclass
class Finding:
    """How a scenario's exchanges ended, which canaries left in clear, and which other hosts were used."""

    name: str
    outcomes: Outcomes
    clear: list[str]
    strangers: list[str]


@dataclass
class World:
    """What a scenario works with.

    Attributes:
        own: ports whose traffic is meant to be in clear: between bridge and provider, and between a program
            and the endpoint on its machine.
        folder: for files of a scenario.
    """

    bed: Testbed
    sink: Sink
    folder: Path
    own: set[int] = field(default_factory=set)


Scenario = Callable[[World, Canaries], Outcomes]
"""Runs with these canaries."""


def main() -> None:
    from .scenarios import SCENARIOS

    _build_network()
    findings = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = World(
            stack.enter_context(Testbed("scripted", bridge_options=_LIMITS)),
            stack.enter_context(Sink(OUTSIDE)),
            folder,
        )
        for name, scenario in SCENARIOS.items():
            findings.append(_observed(name, scenario, world))
    Path(sys.argv[1]).write_text(json.dumps([asdict(finding) for finding in findings]))


def _observed(name: str, scenario: Scenario, world: World) -> Finding:
    canaries, capture = Canaries.fresh(), Capture()
    world.own = {_port(world.bed.provider)}
    try:
        outcomes = scenario(world, canaries)
        time.sleep(_SETTLE_SECONDS)
    finally:
        capture.stop()
    flows = {flow: data for flow, data in capture.flows.items() if not flow.ports & world.own}
    strangers = {f"{flow.target}:{flow.target_port}" for flow in flows if _is_strange(flow, world)}
    return Finding(name, outcomes, sorted(canaries.found_in(flows.values())), sorted(strangers))


def _is_strange(flow: Flow, world: World) -> bool:
    """Whether it leads to the sink or away from this machine. Traffic from the sink is a response."""
    if flow.source_port in world.sink.ports:
        return False
    return flow.target_port in world.sink.ports or not flow.target.startswith(("127.", "::1"))


def _build_network() -> None:
    for command in (
        "ip link set lo up",
        f"ip addr add {OUTSIDE}/32 dev lo",
        "ip addr add 192.0.2.53/32 dev lo",
        "ip route add default dev lo",
    ):
        subprocess.run(command.split(), check=True)
    _replace("/etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{OUTSIDE} {name}\n" for name in PROVIDERS))
    _replace("/etc/resolv.conf", "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n")


def _replace(path: str, text: str) -> None:
    """Mounts a file over another, in this mount namespace only."""
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    subprocess.run(["mount", "--bind", file.name, path], check=True)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


if __name__ == "__main__":
    main()
