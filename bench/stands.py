"""Chains that several comparisons of a run share, each started when first needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.chain import UNSEALED_BRIDGE, Chain, UnavailableError
from bench.forwarders import start_controlled_envoy, start_envoy, start_nginx
from bench.measuring import Side
from bench.session import Session
from blindrelay.testbed.processes import PartProcess

DIRECT, UNSEALED, SEALED = "straight to the provider", "unsealed, same parts", "BlindRelay"
RELAY, BARE, ENVOY, NGINX = "our relay", "bare grpc.aio", "Envoy", "nginx"
OUR_ENVOY = "our relay's Envoy"
CONTROL = "control process"
SEALED_BY_ENVOY = "BlindRelay with Envoy"

FORWARDED_AT_ONCE = 8


@dataclass(frozen=True)
class WholeChain:
    """One provider with a sealed and an unsealed path to it, each with its own relay and bridge.

    Attributes:
        url: the provider's.
        connection: of the sealed path, for a client.
        behind: its processes.
        bridge: of the sealed path.
        sides: a generator for the provider and for each of both paths.
    """

    chain: Chain
    url: str
    connection: str
    behind: dict[str, int]
    bridge: PartProcess
    sides: list[Side]

    def side_by_envoy(self, concurrency: int, *, shaped: bool = False) -> Side:
        """A sealed path to the same bridge by Envoy, which is started if need be. Raises UnavailableError.

        If it is `shaped`, then as clients do by default.
        """
        if OUR_ENVOY not in self.chain.pids:
            start_controlled_envoy(self.chain, OUR_ENVOY, CONTROL, self.bridge.listening)
        connect = self.chain.plain_connection if shaped else self.chain.connection
        connection = connect(self.chain.addresses[OUR_ENVOY], self.bridge)
        pids = {"envoy": OUR_ENVOY, "control": CONTROL, "bridge": "bridge"}
        return Side(
            SEALED_BY_ENVOY,
            self.chain.generator("sealed", {"connection": connection}, concurrency),
            {name: self.chain.pids[part] for name, part in pids.items()},
        )


def whole_chain(session: Session) -> WholeChain:
    """Started once in a run."""
    return session.once("whole chain", _start_whole_chain)


def _start_whole_chain(chain: Chain, concurrency: int) -> WholeChain:
    provider = chain.provider()
    bridge, unsealed = chain.bridge(provider), chain.bridge(provider, "unsealed", UNSEALED_BRIDGE)
    sealed = chain.connection(chain.relay(bridge.listening), bridge)
    clear = chain.connection(chain.relay(unsealed.listening, "before unsealed"), unsealed)
    behind = {name: chain.pids[name] for name in ("relay", "bridge")}
    behind_clear = {"relay": chain.pids["before unsealed"], "bridge": chain.pids["unsealed"]}
    url = f"http://{provider}/v1"
    sides = [
        Side(DIRECT, chain.generator("http", {"url": url}, concurrency)),
        Side(UNSEALED, chain.generator("unsealed", {"connection": clear}, concurrency), behind_clear),
        Side(SEALED, chain.generator("sealed", {"connection": sealed}, concurrency), behind),
    ]
    return WholeChain(chain, url, sealed, behind, bridge, sides)


@dataclass(frozen=True)
class Forwarders:
    """One sink, with our relay and other forwarders in front of it.

    Attributes:
        sink: what a way of kind "raw" needs to reach it directly.
        sides: a generator for each forwarder.
        skipped: the forwarders that are missing, and why.
    """

    chain: Chain
    sink: dict[str, str]
    sides: list[Side]
    skipped: list[str]


def forwarders(session: Session) -> Forwarders:
    """Started once in a run."""
    return session.once("forwarders", _start_forwarders)


def _start_forwarders(chain: Chain, _: int) -> Forwarders:
    sink = chain.sink()
    behind = sink["address"]
    starts: dict[str, Callable[[], str]] = {
        RELAY: lambda: chain.relay(behind, RELAY),
        BARE: lambda: chain.pass_through(behind, BARE),
        ENVOY: lambda: start_envoy(chain, ENVOY, behind),
        OUR_ENVOY: lambda: start_controlled_envoy(chain, OUR_ENVOY, CONTROL, behind),
        NGINX: lambda: start_nginx(chain, NGINX, behind),
    }
    sides, skipped = [], []
    for name, start in starts.items():
        try:
            address = start()
        except UnavailableError as reason:
            skipped.append(f"{name}: {reason}")
            continue
        pids = {"forwarder": chain.pids[name]}
        given = {**sink, "address": address}
        if name == OUR_ENVOY:
            pids["control"] = chain.pids[CONTROL]
            given["lease"] = "wanted"
        sides.append(Side(name, chain.generator("raw", given, FORWARDED_AT_ONCE), pids))
    return Forwarders(chain, sink, sides, skipped)
