"""Runs all scenarios in a network namespace of their own, and writes down what was sent.

unshare --net --mount python -m tests.sealed_or_failed.world RESULT.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from blindrelay.testbed import Testbed
from blindrelay.testbed.evidence.capture import Capture, Flow

from .content import Canaries
from .sink import Sink

OUTSIDE: Final = "192.0.2.10"
"""The address of the providers' names (RFC 5737), where the sink accepts everything."""

PROVIDERS: Final = ("api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com")
_SETTLE_SECONDS: Final = 0.2
_LIMITS: Final = {"max_request_bytes": 65_536}


Outcomes = dict[str, list[str]]
"""For each way, a word for the end of each exchange."""


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
