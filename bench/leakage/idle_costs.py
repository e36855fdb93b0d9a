"""What a tunnel costs in which nobody speaks: cells pass in both directions all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bench.leakage.client_process import Spent, measured
from bench.leakage.figures import SHAPES, Figure
from bench.leakage.plan import Plan
from bench.leakage.tunnel_provider import TUNNEL, tunnel_bed
from blindrelay.testbed import Testbed

_MINUTE: Final = 60.0
_MOST: Final = {"balanced": 600.0, "strict": 240.0}
"""Milliseconds of CPU time: half of one for each cell."""


def idle_figures(plan: Plan, tell: Callable[[str], None]) -> list[Figure]:
    """CPU time of relay, bridge and client for a minute of an idle tunnel. Raises TestbedError."""

    async def by_shape() -> dict[str, Spent]:
        async with tunnel_bed(None) as (_, bed):
            spent = {}
            for place, shape in enumerate(SHAPES):
                tell(f"{shape}: CPU time of {plan.tunnels} idle tunnels")
                spent[shape] = await asyncio.to_thread(_spent, bed, shape, place, plan)
            return spent

    return _rows(asyncio.run(by_shape()), plan.tunnels * plan.idle_seconds / _MINUTE)


def _spent(bed: Testbed, shape: str, place: int, plan: Plan) -> Spent:
    """`place` is that of the shape: no tunnel's number comes twice."""
    order = {
        "connection": f"{bed.relay}&shape={shape}",
        "url": f"{TUNNEL}{place}",
        "count": plan.tunnels,
        "seconds": plan.idle_seconds,
    }
    spent, _ = measured("bench.leakage.idle_tunnels", order, bed.pids)
    return spent


def _rows(spent: dict[str, Spent], minutes: float) -> list[Figure]:
    row = "CPU of relay, bridge and client, ms for a minute of an idle tunnel"
    return [
        Figure(row, shape, 1_000 * sum(parts.values()) / minutes, target=_MOST.get(shape))
        for shape, parts in spent.items()
    ]
