"""More than the relay admits: what is admitted must still be served, and the rest refused early."""

from __future__ import annotations

from bench.chain import Chain, relay_room
from bench.measuring import Side, closed, opened
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.work import Work

CHAIN = "BlindRelay"
ROOM = 8
"""Exchanges that the relay admits at once."""

_WORK = Work(prompt_bytes=KIB, piece_bytes=256, first_seconds=0.1)
_CONNECTIONS = 240


def arrival(plan: Plan, session: Session) -> Comparison:
    """Measures the capacity with a closed loop, then runs open loops at multiples of it."""
    about = (
        f"Prompts of 1 KiB, responses after 0.1 s; the relay admits {ROOM} at once. The capacity is what a "
        f"closed loop of {ROOM} achieves. Then exchanges arrive evenly at a multiple of that rate."
    )
    limits = (
        "The relay's limit sets the capacity, so that generator and chain do not starve each other on two "
        "cores. The generator seals refused exchanges too. Evenly spaced arrivals are kinder than real ones."
    )
    made = Comparison("By arrival rate", about, limits, "× capacity")
    seconds = max(2.0, plan.seconds)
    with Chain() as chain:
        bridge = chain.bridge(chain.provider())
        address = chain.relay(bridge.listening, options=relay_room(ROOM))
        parts = {name: chain.pids[name] for name in ("relay", "bridge")}
        given = {"connection": chain.connection(address, bridge)}
        side = Side(CHAIN, chain.generator("sealed", given, _CONNECTIONS), parts)
        side.measure(closed(_WORK, ROOM, 10.0, at_most=ROOM * 5))
        capacity = side.measure(closed(_WORK, ROOM, seconds))["exchanges_per_second"]
        for times in plan.rates:
            measured = side.measure(opened(_WORK, times * capacity, seconds))
            made.points.append(Point(times, {CHAIN: [{**measured, "capacity": capacity}]}))
    return made
