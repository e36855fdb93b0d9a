"""`python -m bench capacity`: how many nodes so many users need."""

from __future__ import annotations

import argparse
from typing import Any

from bench.capacity import Costs, Demand, plan, simulate

_SIMULATED_SECONDS = 60.0


def add_capacity(commands: Any) -> None:
    """Adds the command."""
    command = commands.add_parser("capacity", help="how many nodes a service needs, checked by a simulation")
    usual, costs = Demand(), Costs()
    command.add_argument("--users", type=int, default=usual.users, metavar="N")
    command.add_argument("--per-day", type=float, default=usual.per_day, help="exchanges of a user in a day")
    command.add_argument("--peak", type=float, default=usual.peak, help="the busiest hour over the mean")
    command.add_argument("--records", type=float, default=usual.records, help="of a response")
    command.add_argument("--seconds", type=float, default=usual.seconds, help="length of an exchange")
    command.add_argument("--exchange-us", type=float, default=costs.exchange * 1e6, help="CPU of an exchange")
    command.add_argument(
        "--record-us", type=float, default=costs.record * 1e6, help="CPU of a further record"
    )
    command.add_argument("--cores", type=int, default=costs.cores, help="of a node, for Envoy and the relay")
    command.set_defaults(do=_capacity)


def _capacity(given: argparse.Namespace) -> int:
    demand = Demand(given.users, given.per_day, given.peak, given.records, given.seconds)
    costs = Costs(given.exchange_us / 1e6, given.record_us / 1e6, cores=given.cores)
    planned = plan(demand, costs)
    seen = simulate(demand, costs, planned.nodes - 1, _SIMULATED_SECONDS, seed=1)
    print(f"{demand.rate:,.0f} exchanges a second in the busiest hour: {planned.nodes} nodes, one to lose")
    print("busiest node, while one is lost | planned | simulated")
    print(f"exchanges at once               | {planned.streams:7,} | {seen.streams:9,}")
    print(f"load of its cores               | {planned.load:7.0%} | {seen.load:9.0%}")
    return 0
