"""All processes of an evidence run: applications, our parts, a reading relay, the provider."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

import httpx

from blindrelay.client.portal import Portal
from blindrelay.testbed.evidence import read_only
from blindrelay.testbed.evidence.application import Application
from blindrelay.testbed.evidence.asker import Asker
from blindrelay.testbed.evidence.capture import Capture, Flow
from blindrelay.testbed.evidence.crash import allow_cores
from blindrelay.testbed.evidence.leaky_relay import NEED_TO_WRITE
from blindrelay.testbed.evidence.network import Doorway
from blindrelay.testbed.evidence.plan import MAX_REQUEST
from blindrelay.testbed.evidence.traces import children_of, local_ports_of
from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.topology import BY_ENVOY, RelayStart, Testbed

TALKATIVE: Final = {"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "all"}
"""What makes gRPC write down whatever it can, where it is heeded."""

_MINUTE: Final = 60.0

AS_SHIPPED: Final = RelayStart(
    launcher=(sys.executable, "-P", str(Path(read_only.__file__))), environment=TALKATIVE
)
"""The relay, with nowhere to write to, and asked to say all that it can."""


BEHIND_ENVOY: Final = replace(BY_ENVOY, environment=TALKATIVE)
"""Envoy and its control process. They write the files that they share, and have no sandbox."""


def leaking(leaks: Sequence[str]) -> RelayStart:
    """A relay without the named protections (leaky_relay.py), and with all the others where that can be."""
    module, arguments = "blindrelay.testbed.evidence.leaky_relay", (",".join(leaks),)
    if NEED_TO_WRITE.isdisjoint(leaks):
        return replace(AS_SHIPPED, module=module, arguments=arguments)
    return RelayStart(module, arguments, environment=TALKATIVE)


def with_minute(relay: RelayStart, seconds: float) -> RelayStart:
    """The relay with another time between its log's reports; as it is, if that is a minute."""
    if seconds == _MINUTE:
        return relay
    arguments = (str(seconds), relay.module, *relay.arguments)
    return replace(relay, module="blindrelay.testbed.evidence.short_minute", arguments=arguments)


class Scene:
    """All processes, started on entering the block.

    Attributes:
        holding, working: applications before our relay; reading: the one before the relay that reads.
        folder: the working directory of them all, where a core would be.
        by_envoy: whether our relay is Envoy with its control process.
    """

    def __init__(self, asker: Asker, relay: RelayStart) -> None:
        self.asker = asker
        self.by_envoy = BY_ENVOY.module in (relay.module, *relay.arguments)
        self.bed = Testbed(
            "scripted",
            account=asker.account,
            kept_lines=100_000,
            bridge_options={"max_request_bytes": MAX_REQUEST},
            models={"*": "openai/*"},
            relay_options={"sandbox": bool(relay.launcher)},
            relay_start=relay,
            ledger=True,
        )
        self.plain_relay = PartProcess(
            "plain relay", "blindrelay.testbed.evidence.plain_relay", lambda: [self.bed.provider]
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="blindrelay-evidence-"))
            )
            stack.callback(os.chdir, Path.cwd())
            os.chdir(self.folder)
            allow_cores()
            self.capture = Capture()
            stack.callback(self.capture.stop)
            stack.enter_context(self.bed)
            stack.callback(self.plain_relay.stop)
            self.plain_relay.start()
            portal = Portal()
            stack.callback(portal.close)
            doorway = Doorway(self._relay_address, self.asker.address)
            self.door = portal.call(doorway.open())
            self.sealed = self.bed.connection(f"127.0.0.1:{self.door}") + "&credentials=brought"
            self.in_clear = f"http://{self.plain_relay.listening}"
            self.holding, self.working, self.reading = (self._application(stack) for _ in range(3))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def release(self, gate: str) -> None:
        """Lets the provider end the responses that wait at a gate."""
        url = f"{self.bed.provider}/scripted/release"
        httpx.post(url, json={"gate": gate}, trust_env=False, timeout=60.0)

    @property
    def relay(self) -> int:
        """Our relay's process."""
        return self.bed.pids["relay"]

    @property
    def relays(self) -> list[int]:
        """The same, and Envoy if there is one."""
        return [self.relay, *children_of(self.relay)]

    @property
    def pids(self) -> dict[str, list[int]]:
        """By party. Those whose memory changes soonest come first."""
        return {
            "relay": self.relays,
            "ledger": [self.bed.pids["ledger"]],
            "bridge": [self.bed.pids["bridge"]],
            "plain relay": [self.plain_relay.pid],
            "client": [self.holding.pid, self.working.pid],
        }

    @property
    def replicas(self) -> set[str]:
        """The addresses of bridges in the relay's configuration."""
        return {self.bed.parts["bridge"].listening}

    @property
    def ledgers(self) -> set[str]:
        """The address of the ledger in the relay's configuration."""
        return {self.bed.parts["ledger"].listening}

    @property
    def _relay_address(self) -> str:
        return self.bed.parts["relay"].listening

    def is_of_the_books(self, path: Path) -> bool:
        """Whether a file in the testbed's folder is the ledger's or a bridge's, which keep bills."""
        return path.parent == self.bed.folder and path.name.startswith(("ledger.db", "bridge.outbox.db"))

    def is_of_envoy(self, path: Path) -> bool:
        """Whether a file is one that the control process writes for Envoy."""
        return path.parent == self.bed.folder / "envoy"

    def hops(self) -> dict[str, dict[Flow, bytes]]:
        """What crossed the network until now, by between whom."""
        flows = self.capture.flows
        relay, bridge, plain, provider, ledger = map(
            _port, (self._relay_address, *self.replicas, self.in_clear, self.bed.provider, *self.ledgers)
        )
        of_the_ledger = local_ports_of(self.bed.pids["ledger"]) - {ledger}
        of_the_bridge = _connections_towards(flows, provider)
        between: dict[str, Callable[[Flow], object]] = {
            "client to relay": lambda flow: flow.ports & {relay, self.door},
            "relay to ledger": lambda flow: ledger in flow.ports,
            "ledger to bridge": lambda flow: bridge in flow.ports and flow.ports & of_the_ledger,
            "relay to bridge": lambda flow: bridge in flow.ports,
            "client to plain relay": lambda flow: plain in flow.ports,
            "bridge to provider": lambda flow: provider in flow.ports and _connection(flow) in of_the_bridge,
            "plain relay to provider": lambda flow: provider in flow.ports,
        }
        hops: dict[str, dict[Flow, bytes]] = {name: {} for name in between}
        for flow, data in flows.items():
            name = next((name for name, is_of_it in between.items() if is_of_it(flow)), None)
            if name is not None:
                hops[name][flow] = data
        return hops

    def _application(self, stack: ExitStack) -> Application:
        application = Application(self.asker)
        stack.callback(application.close)
        return application


def _connection(flow: Flow) -> tuple[frozenset[int], int]:
    """The same for both directions. A port that the bridge has left may become the plain relay's."""
    return frozenset(flow.ports), flow.connection


def _connections_towards(flows: dict[Flow, bytes], provider: int) -> set[tuple[frozenset[int], int]]:
    """The connections by which the bridge speaks to the provider: its requests say "blindrelay"."""
    return {
        _connection(flow)
        for flow, data in flows.items()
        if flow.target_port == provider and b"user-agent: blindrelay" in data
    }


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
