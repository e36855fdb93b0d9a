"""How many nodes a service needs: a model, and a simulation of the busiest minutes that checks it.

The model takes figures that are measured (docs/sizing.md says how), and assumes that exchanges start
independently of each other. The simulation makes that come true and counts.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from typing import Final

DAY_SECONDS: Final = 86_400

SPREAD: Final = 4.0
"""Standard deviations above the mean. Exchanges at one moment exceed that less than once in 30,000."""


@dataclass(frozen=True)
class Demand:
    """What the users do.

    Attributes:
        users: accounts.
        per_day: exchanges of a user in a day.
        peak: how many times the mean rate the busiest hour has.
        records: of a response.
        seconds: mean length of an exchange.
    """

    users: int = 1_000_000
    per_day: float = 10.0
    peak: float = 3.0
    records: float = 60.0
    seconds: float = 12.0

    @property
    def rate(self) -> float:
        """Exchanges that start in a second of the busiest hour."""
        return self.users * self.per_day * self.peak / DAY_SECONDS


@dataclass(frozen=True)
class Costs:
    """What a node spends, as measured.

    Attributes:
        exchange: CPU seconds of Envoy and control process for an exchange of one record each way.
        record: CPU seconds for each further record.
        stream_bytes: memory of a running exchange.
        cores: of a node, for Envoy and control process.
        bytes: of a node.
        busy: the share of its cores that a node may spend.
    """

    exchange: float = 250e-6
    record: float = 16e-6
    stream_bytes: int = 30_000
    cores: int = 4
    bytes: int = 8_000_000_000
    busy: float = 0.6

    def work(self, records: float) -> float:
        """CPU seconds of an exchange."""
        return self.exchange + self.record * max(records - 1, 0)


@dataclass(frozen=True)
class Plan:
    """What the demand needs.

    Attributes:
        nodes: with one to lose.
        streams: exchanges at once on each node while one is lost; they exceed that less than once in 30,000.
        load: of the cores of each node while one is lost, at the mean.
    """

    nodes: int
    streams: int
    load: float


def plan(demand: Demand, costs: Costs) -> Plan:
    """Enough nodes for CPU and memory, and one more.

    The exchanges at one moment are Poisson distributed around rate times length (M/G/∞).
    """
    by_cpu = demand.rate * costs.work(demand.records) / (costs.cores * costs.busy)
    by_memory = _at_most(demand.rate * demand.seconds) * costs.stream_bytes / costs.bytes
    needed = max(1, math.ceil(max(by_cpu, by_memory)))
    load = demand.rate * costs.work(demand.records) / (needed * costs.cores)
    return Plan(needed + 1, math.ceil(_at_most(demand.rate * demand.seconds / needed)), load)


def _at_most(mean: float) -> float:
    return mean + SPREAD * math.sqrt(mean)


@dataclass(frozen=True)
class Seen:
    """What a simulation saw at the busiest node: most exchanges at once, and the mean load of its cores."""

    streams: int
    load: float


def simulate(demand: Demand, costs: Costs, nodes: int, seconds: float, seed: int) -> Seen:
    """The busiest `seconds`, on so many nodes that all work.

    Starts are a Poisson process, lengths and records are exponential: longer tails than those of answers.
    """
    chance = random.Random(seed)
    running: list[list[float]] = [[] for _ in range(nodes)]
    most, work = [0] * nodes, [0.0] * nodes
    now = -5 * demand.seconds  # until as many run as in the long term
    while (now := now + chance.expovariate(demand.rate)) < seconds:
        node = chance.randrange(nodes)
        ends = running[node]
        heapq.heappush(ends, now + chance.expovariate(1 / demand.seconds))
        while ends[0] <= now:
            heapq.heappop(ends)
        if now >= 0:
            most[node] = max(most[node], len(ends))
            work[node] += costs.work(chance.expovariate(1 / demand.records))
    return Seen(max(most), max(work) / (seconds * costs.cores))
