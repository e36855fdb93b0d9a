"""One relay process and two, on one port."""

from __future__ import annotations

from bench.chain import Chain
from bench.measuring import Side, closed, interleaved
from bench.plan import KIB, Plan
from bench.results import Comparison, Point
from bench.session import Session
from bench.work import Work

COUNTS = (1, 2)
_SIDE_BY_SIDE = 32
_PER_CONNECTION = 4
"""Exchanges at once: the kernel deals connections to workers, so there must be several."""


def workers(plan: Plan, session: Session) -> Comparison:
    """The same sealed traffic through either, to one sink."""
    about = (
        f"Exchanges of one record of 2 KiB each way, {_SIDE_BY_SIDE} at a time over eight connections, "
        "closed loop."
    )
    limits = (
        "Generator and sink are Python processes on the same cores. With two cores, the relay's second "
        "worker takes time from them."
    )
    made = Comparison("By number of relay workers", about, limits, "relay workers")
    work = Work(prompt_bytes=2 * KIB, pieces=1, piece_bytes=2 * KIB)
    with Chain() as chain:
        sink = chain.sink()
        sides = []
        for count in COUNTS:
            name = f"{count} worker" + "s" * (count > 1)
            arguments = ["--workers", str(count)] if count > 1 else []
            address = chain.relay(sink["address"], name, arguments=arguments)
            given = {**sink, "address": address, "per_connection": str(_PER_CONNECTION)}
            generator = chain.generator("raw", given, _SIDE_BY_SIDE)
            sides.append(Side(name, generator, {"relay": chain.pids[name]}))
        order = closed(work, _SIDE_BY_SIDE, plan.seconds)
        runs = interleaved(sides, order, plan.rounds)
        made.points += [Point(int(name.split()[0]), {"our relay": each}) for name, each in runs.items()]
    return made
